"""One adapter in two layouts, because no single file satisfies every reader.

The kohya layout is read by diffusers, ComfyUI, A1111, Forge, SD.Next, InvokeAI and kohya itself; the diffusers layout by
diffusers and PEFT. Both are written with alpha equal to the (largest) rank, the scale folded into the weights: readers that
ignore or guess alpha then agree with those that read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.adapters import safetensors_file
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.change import Change
from zthumb.naming.unet import to_kohya

if TYPE_CHECKING:
    from torch import Tensor

_TEXT_MODEL = "text_model."


def save_diffusers(adapter: Adapter, path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the diffusers layout: PEFT keys below the parts' names, ranks and alphas beside ``metadata`` in the header."""
    config = {key: value for part in adapter.parts for key, value in _configuration(adapter, part).items()}
    header = {**metadata, "format": "pt", "lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True)}
    safetensors_file.write(adapter.peft(), header, path)


def save_kohya(adapter: Adapter, path: Path, layers_per_block: int, metadata: Mapping[str, str]) -> None:
    """Write the kohya layout: original block names, a scalar alpha for each module, ``metadata`` and its hash in the header."""
    import torch

    # One alpha for all modules: diffusers loses those that differ from the usual one, and with them the scale.
    alpha = float(max((layer.rank for layer in adapter.layers.values()), default=1))
    tensors = {}
    for module, layer in sorted(adapter.layers.items()):
        name = to_kohya(module, layers_per_block)
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        tensors[f"{name}.lora_down.weight"] = layer.down.contiguous()
        tensors[f"{name}.lora_up.weight"] = (layer.up * (layer.scale * layer.rank / alpha)).contiguous()
        if layer.magnitude is not None:
            # One norm for each output, as LyCORIS writes it with wd_on_out; a row of inputs would be the other kind.
            ones = (1,) * (layer.down.dim() - 1)
            tensors[f"{name}.dora_scale"] = layer.magnitude.reshape(-1, *ones).contiguous()
    for module, change in sorted(adapter.changes.items()):
        tensors |= _as_written(to_kohya(module, layers_per_block), change)
    digest = safetensors_file.body_hash(tensors)
    legacy = safetensors_file.legacy_hash(tensors, metadata)
    hashes = {"sshs_model_hash": digest, "sshs_legacy_hash": legacy, "modelspec.hash_sha256": f"0x{digest}"}
    safetensors_file.write(tensors, {**metadata, **hashes}, path)


def _as_written(name: str, change: Change) -> dict[str, Tensor]:
    """The tensors of a change under the names it was read by, which the programs that know its kind read."""
    tensors = {f"{name}.{suffix}": tensor.contiguous() for suffix, tensor in change.tensors.items()}
    if change.magnitude is not None:
        ones = (1,) * (len(change.shape) - 1)
        norms = change.magnitude.reshape(1, -1, *ones[1:]) if change.over_inputs else change.magnitude.reshape(-1, *ones)
        tensors[f"{name}.dora_scale"] = norms.contiguous()
    return tensors


def _configuration(adapter: Adapter, part: str) -> dict[str, Any]:
    """The least that PEFT needs to know of one part; older versions fail on what they do not know."""
    # A target is the end of a path, so that a text encoder is fitted whether its layers lie in a text_model or not.
    ranks = {module.removeprefix(_TEXT_MODEL): layer.rank for module, layer in adapter.of(part).items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {module: rank for module, rank in sorted(ranks.items()) if rank != usual}
    told: dict[str, Any] = {"r": usual, "lora_alpha": usual, "target_modules": sorted(ranks)}
    if others:
        told |= {"rank_pattern": others, "alpha_pattern": others}
    if any(layer.magnitude is not None for layer in adapter.of(part).values()):
        told["use_dora"] = True
    return {f"{part}.{key}": value for key, value in told.items()}
