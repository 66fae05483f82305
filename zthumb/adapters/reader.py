"""A LoRA file of any layout → the adapter in it, checked against a base before anything is applied.

Understood are kohya's names with the original block names or diffusers' (kohya, ai-toolkit, OneTrainer), the diffusers layout of
today and before PEFT, ComfyUI's ``diffusion_model.`` names, and PEFT's own folders.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file
from zthumb.adapters import header
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.header import Header
from zthumb.adapters.skeleton import Skeleton

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]

_ROLES = (
    ("down", re.compile(r"(?:\.lora_down|\.lora_A(?:\.\w+)?|\.lora\.down|_lora\.down|\.lora_linear_layer\.down)\.weight$")),
    ("up", re.compile(r"(?:\.lora_up|\.lora_B(?:\.\w+)?|\.lora\.up|_lora\.up|\.lora_linear_layer\.up)\.weight$")),
    ("alpha", re.compile(r"\.alpha$")),
    ("magnitude", re.compile(r"(?:\.dora_scale|\.lora_magnitude_vector(?:\.\w+)?)$")),
)
_UNSUPPORTED = (
    ("a LoHa", re.compile(r"\.hada_[wt]\d")),
    ("a LoKr", re.compile(r"\.lokr_[wt]\d")),
    ("an OFT or BOFT", re.compile(r"\.oft_")),
    ("an (IA)³", re.compile(r"\.on_input$")),
    ("a LoCon with Tucker decomposition", re.compile(r"\.lora_mid\.weight$")),
    ("a full difference of weights", re.compile(r"\.diff(_b)?$")),
    ("a LoRA with biases", re.compile(r"\.lora_B(\.\w+)?\.bias$")),
)
# Trained words that some programs pack into the same file; they are no part of the adapter.
_EMBEDDINGS = ("bundle_emb.", "emb_params")
_PARTS = ("unet.", "text_encoder.", "text_encoder_2.")
_PEFT, _PEFT_CONFIGURATION = "base_model.model.", "adapter_config.json"
_COMFY = "diffusion_model."
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")


def load(path: Path, base: Skeleton) -> Adapter:
    """Read the adapter in ``path``, a file or a folder in the diffusers layout or PEFT's.

    Raises ``BadInput``, which names the first tensor at fault, unless every tensor belongs to a module of ``base``, has its
    shape and holds finite numbers only.
    """
    found = header.read(_inside(path))
    scales = _Scales(found)
    layers = {}
    for stem, roles in _grouped(found).items():
        module = _path(stem, base)
        if module is None:
            name = next(iter(roles.values()))
            raise BadInput(f"{found.file}: an adapter for another base: {base.name} has no module for {name}.")
        if module in layers:
            raise BadInput(f"{found.file}: has {module} twice, under two names.")
        layers[module] = roles
    if not layers:
        raise BadInput(f"{found.file}: no LoRA weights are in it.")
    tensors = _tensors(found)
    return Adapter({module: _layer(found, module, roles, tensors, scales, base) for module, roles in sorted(layers.items())})


def hash_of(path: Path) -> str:
    """SHA-256 of the file that ``load`` reads."""
    return hash_file(header.read(_inside(path)).file)


def _inside(path: Path) -> Path:
    peft = path / "adapter_model.safetensors"
    return peft if path.is_dir() and peft.is_file() else path


def _grouped(found: Header) -> dict[str, dict[str, str]]:
    """Module's name in the file → role → name of the tensor."""
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(found.shapes):
        if name.startswith(_EMBEDDINGS):
            continue
        for kind, pattern in _UNSUPPORTED:
            if pattern.search(name):
                raise BadInput(f"{found.file}: {kind} ({name}), which is not supported; LoRA and DoRA are.")
        for role, pattern in _ROLES:
            if pattern.search(name):
                grouped[pattern.sub("", name)][role] = name
                break
        else:
            raise BadInput(f"{found.file}: {name} is no part of a LoRA.")
    return grouped


def _path(stem: str, base: Skeleton) -> str | None:
    """The path of the module that a name in a file stands for."""
    stem = stem.removeprefix(_PEFT)
    if stem.startswith(_COMFY):
        stem = "lora_unet_" + stem.removeprefix(_COMFY).replace(".", "_")
    if stem.startswith("lora_"):
        return base.kohya_names.get(stem)
    stem = _OLD_ATTENTION.sub(lambda found: "." + ("to_out.0" if found[1] == "to_out" else found[1]), stem)
    named = stem if stem.startswith(_PARTS) else f"unet.{stem}"
    part, module = named.split(".", 1)
    return next((path for path in (named, f"{part}.text_model.{module}") if path in base.shapes), None)


def _layer(found: Header, module: str, roles: Mapping[str, str], tensors: Tensors, scales: _Scales, base: Skeleton) -> Layer:
    for role in ("down", "up"):
        if role not in roles:
            raise BadInput(f"{found.file}: {module} has no {role} weight.")
    _check_shapes(found, module, roles, base)
    for name in roles.values():
        tensor = tensors[name]
        if not tensor.is_floating_point():
            raise BadInput(f"{found.file}: {name} holds {tensor.dtype}, not floating-point numbers.")
        if not tensor.isfinite().all():
            raise BadInput(f"{found.file}: {name} holds NaN or infinity: the training that made it had failed.")
    alpha = float(tensors[roles["alpha"]].flatten()[0]) if "alpha" in roles else None
    magnitude = tensors[roles["magnitude"]].flatten() if "magnitude" in roles else None
    out, *rest = base.shapes[module]
    rank = found.shapes[roles["down"]][0]
    down, up = tensors[roles["down"]].reshape(rank, *rest), tensors[roles["up"]].reshape(out, rank, *(1 for _ in rest[1:]))
    return Layer(down, up, scales.of(module, rank, alpha), magnitude)


def _check_shapes(found: Header, module: str, roles: Mapping[str, str], base: Skeleton) -> None:
    out, *rest = base.shapes[module]
    down, up = found.shapes[roles["down"]], found.shapes[roles["up"]]
    rank = down[0] if down else 0
    # Some programs write the factors of a 1 × 1 convolution as matrices.
    is_pointwise = all(size == 1 for size in rest[1:])
    fits_down = down[1:] == tuple(rest) or (is_pointwise and down[1:] == tuple(rest[:1]))
    if rank < 1 or not fits_down or up[:2] != (out, rank) or any(size != 1 for size in up[2:]):
        shapes = f"{roles['down']} {down} and {roles['up']} {up}"
        raise BadInput(f"{found.file}: an adapter for another base: {shapes} do not fit {base.name}.")
    if "alpha" in roles and found.shapes[roles["alpha"]] not in ((), (1,)):
        raise BadInput(f"{found.file}: {roles['alpha']} is not one number.")
    if "magnitude" in roles:
        size = found.shapes[roles["magnitude"]]
        if size[:1] != (out,) or any(other != 1 for other in size[1:]):
            raise BadInput(
                f"{found.file}: {roles['magnitude']} {size} has no norm for each of {out} outputs. A DoRA that scales inputs "
                "is not supported."
            )


def _tensors(found: Header) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Tensors = load_file(found.file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{found.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    return tensors


class _Scales:
    """What the product of each module's factors is multiplied by: by the file's alphas, or by what its configuration says."""

    def __init__(self, found: Header) -> None:
        self._parts: dict[str, dict[str, Any]] = defaultdict(dict)
        beside = found.file.parent / _PEFT_CONFIGURATION
        if found.file.name == "adapter_model.safetensors" and beside.is_file():
            self._parts["unet"] = read_json(beside)
        for key, value in _told(found).items():
            part, _, name = key.partition(".")
            self._parts[part][name] = value

    def of(self, module: str, rank: int, alpha: float | None) -> float:
        """The scale of one module of ``rank``, whose own ``alpha`` the file may hold."""
        if alpha is not None:
            return alpha / rank
        part, path = module.split(".", 1)
        told = self._parts.get(part, {})
        alphas = {name: value for name, value in (told.get("alpha_pattern") or {}).items() if f".{path}".endswith(f".{name}")}
        named = next(iter(alphas.values()), told.get("lora_alpha"))
        if named is None:
            return 1.0
        return float(named) / (rank**0.5 if told.get("use_rslora") else rank)


def _told(found: Header) -> dict[str, Any]:
    text = found.metadata.get("lora_adapter_metadata")
    if text is None:
        return {}
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise BadInput(f"{found.file}: its lora_adapter_metadata is no JSON object.")
    return told
