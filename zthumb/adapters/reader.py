"""A LoRA file of any layout → the adapter in it, checked against a base before anything is applied.

Understood are kohya's names with the original block names or diffusers' (kohya, ai-toolkit, OneTrainer), the diffusers layout of
today and before PEFT, ComfyUI's ``diffusion_model.`` names, and PEFT's own folders.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from foundation.hashing import hash_file, hash_value
from zthumb.adapters import header, scales, words
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.header import Header
from zthumb.adapters.scales import Scales
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
_PARTS = ("unet.", "text_encoder.", "text_encoder_2.")
_PEFT = "base_model.model."
_COMFY = "diffusion_model."
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")


def load(path: Path, base: Skeleton) -> Adapter:
    """Read the adapter in ``path``, a file or a folder in the diffusers layout or PEFT's.

    Raises ``BadInput``, which names the first tensor at fault, unless every tensor belongs to a module of ``base``, has its
    shape and holds finite numbers only.
    """
    found = header.read(path)
    told = scales.read(found)
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
    read = {module: _layer(found, module, roles, tensors, told, base) for module, roles in sorted(layers.items())}
    adapter = Adapter(read, words.read(found, base))
    for part in adapter.parts:
        if len({layer.magnitude is None for layer in adapter.of(part).values()}) > 1:
            raise BadInput(f"{found.file}: a DoRA in some modules of the {part} and a LoRA in others, which is not supported.")
    return adapter


def hash_of(path: Path) -> str:
    """SHA-256 of the file that ``load`` reads; where it reads others beside it, one over the hashes of all."""
    read = files(path)
    hashes = {each.name: hash_file(each) for each in read}
    return hashes[read[0].name] if len(read) == 1 else hash_value(hashes)


def files(path: Path) -> list[Path]:
    """What ``load`` reads: the adapter's file first, then those beside it that belong to it."""
    # A file is not looked into for that: this is asked with every request.
    file = path if path.is_file() else header.read(path).file
    return [file, *(each for each in (scales.beside(file), words.beside(file)) if each is not None)]


def _grouped(found: Header) -> dict[str, dict[str, str]]:
    """Module's name in the file → role → name of the tensor."""
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(found.shapes):
        if name.startswith(words.BUNDLED):
            continue
        for kind, pattern in _UNSUPPORTED:
            if pattern.search(name):
                raise BadInput(f"{found.file}: {kind} ({name}), which is not supported; LoRA and DoRA are.")
        for role, pattern in _ROLES:
            if pattern.search(name):
                roles = grouped[pattern.sub("", name)]
                if role in roles:
                    raise BadInput(f"{found.file}: {roles[role]} and {name} are the same weight twice.")
                roles[role] = name
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
        return base.kohya_names.get(stem.replace(".", "_"))
    stem = _OLD_ATTENTION.sub(lambda found: "." + ("to_out.0" if found[1] == "to_out" else found[1]), stem)
    named = stem if stem.startswith(_PARTS) else f"unet.{stem}"
    part, module = named.split(".", 1)
    return next((path for path in (named, f"{part}.text_model.{module}") if path in base.shapes), None)


def _layer(found: Header, module: str, roles: Mapping[str, str], tensors: Tensors, told: Scales, base: Skeleton) -> Layer:
    for role in ("down", "up"):
        if role not in roles:
            raise BadInput(f"{found.file}: {module} has no {role} weight.")
    _check_shapes(found, module, roles, base)
    values = {role: _values(found, role, name, tensors[name]) for role, name in roles.items()}
    out, *rest = base.shapes[module]
    rank = values["down"].shape[0]
    return Layer(
        down=values["down"].reshape(rank, *rest),
        up=values["up"].reshape(out, rank, *(1 for _ in rest[1:])),
        scale=float(values["alpha"].flatten()[0]) / rank if "alpha" in values else told.of(module, rank),
        magnitude=values["magnitude"].flatten() if "magnitude" in values else None,
    )


def _values(found: Header, role: str, name: str, tensor: Tensor) -> Tensor:
    """A tensor's numbers, float32: scales are folded in and compared without another rounding."""
    # Some programs write a rank that is a whole number for an alpha.
    if not tensor.is_floating_point() and role != "alpha":
        raise BadInput(f"{found.file}: {name} holds {tensor.dtype}, not floating-point numbers.")
    values = tensor.float()
    if not values.isfinite().all():
        raise BadInput(f"{found.file}: {name} holds NaN or infinity: the training that made it had failed.")
    return values


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
    name = roles.get("magnitude")
    if name is not None and not _is_of_outputs(name, found.shapes[name], out):
        told = f"{name} {found.shapes[name]} has no norm for each of {out} outputs"
        raise BadInput(f"{found.file}: {told}. A DoRA that scales inputs is not supported.")


def _is_of_outputs(name: str, shape: tuple[int, ...], out: int) -> bool:
    """Whether a magnitude has one norm for each output: along its first axis, or in PEFT's convolutions along the second."""
    along = 1 if "lora_magnitude_vector" in name and len(shape) > 2 else 0
    return len(shape) > along and shape[along] == out and all(size == 1 for axis, size in enumerate(shape) if axis != along)


def _tensors(found: Header) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Tensors = load_file(found.file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{found.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    return tensors
