"""Write one adapter in two layouts, because no single file satisfies every reader.

The kohya layout is read by diffusers, ComfyUI, A1111, Forge, SD.Next, InvokeAI and kohya itself; the diffusers layout by
diffusers and PEFT. Both are written with alpha equal to the (largest) rank and the scale folded into the weights: so readers that
ignore or guess alpha agree with those that read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.change import Change
from zthumb.adapters.fused_modules import is_fused, join_changes, join_layers
from zthumb.adapters.module_shapes import Place
from zthumb.checkpoints import safetensors_file
from zthumb.checkpoints.checkpoint_key import names_by_key

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import ModelFamily

_TEXT_MODEL = "text_model."


def save_diffusers(
    adapter: Adapter,
    path: Path,
    metadata: Mapping[str, str] = MappingProxyType({}),
    prefixes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the diffusers layout: PEFT keys prefixed by component; the header has ``metadata`` and the ranks and alphas.

    ``prefixes`` are a family's own, by component (``ModelFamily.diffusers_prefixes``).
    """
    config = {key: value for component in adapter.parts for key, value in _peft_config(adapter, component).items()}
    header = {**metadata, "format": "pt", "lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True)}
    safetensors_file.write({_prefixed(name, prefixes): tensor for name, tensor in adapter.to_peft().items()}, header, path)


def _prefixed(name: str, prefixes: Mapping[str, str]) -> str:
    component, _, rest = name.partition(".")
    return prefixes.get(component, f"{component}.") + rest


def save_kohya(
    adapter: Adapter, path: Path, family: ModelFamily, denoiser_config: Mapping[str, Any], metadata: Mapping[str, str]
) -> None:
    """Write the kohya layout: the names kohya uses for the family, a scalar alpha per module; ``metadata`` in the header."""
    import torch

    keys = {module: family.lora_key(module, denoiser_config) for module in adapter.paths}
    layers, changes = dict[str, Layer](), dict[str, Change]()
    for name, parts in sorted(names_by_key(keys).items()):
        is_joined = is_fused([Place(module, keys[module]) for module in parts])
        own_layers = [(keys[module], adapter.layers[module]) for module in parts if module in adapter.layers]
        own_changes = [(keys[module], adapter.changes[module]) for module in parts if module in adapter.changes]
        if own_layers:
            layers[name] = join_layers(name, own_layers) if is_joined else own_layers[0][1]
        if own_changes:
            changes[name] = join_changes(name, own_changes) if is_joined else own_changes[0][1]
    # One alpha for all modules: diffusers loses the alphas that differ from the most common one, and with them the scales.
    alpha = float(max((layer.rank for layer in layers.values()), default=1))
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        tensors[f"{name}.lora_down.weight"] = layer.down.contiguous()
        tensors[f"{name}.lora_up.weight"] = (layer.up * (layer.scale * layer.rank / alpha)).contiguous()
        if layer.magnitude is not None:
            # A column with one norm per output, as LyCORIS writes it with wd_on_out; a row would mean norms per input.
            ones = (1,) * (layer.down.dim() - 1)
            tensors[f"{name}.dora_scale"] = layer.magnitude.reshape(-1, *ones).contiguous()
    for name, change in changes.items():
        tensors |= _change_tensors(name, change)
    digest = safetensors_file.body_hash(tensors)
    legacy = safetensors_file.legacy_hash(tensors, metadata)
    hashes = {"sshs_model_hash": digest, "sshs_legacy_hash": legacy, "modelspec.hash_sha256": f"0x{digest}"}
    safetensors_file.write(tensors, {**metadata, **hashes}, path)


def _change_tensors(name: str, change: Change) -> dict[str, Tensor]:
    """Return the tensors of a change under the suffixes they were read by, which other programs that support its kind expect."""
    tensors = {f"{name}.{suffix}": tensor.contiguous() for suffix, tensor in change.tensors.items()}
    if change.magnitude is not None:
        ones = (1,) * (len(change.shape) - 1)
        norms = change.magnitude.reshape(1, -1, *ones[1:]) if change.is_per_input else change.magnitude.reshape(-1, *ones)
        tensors[f"{name}.dora_scale"] = norms.contiguous()
    return tensors


def _peft_config(adapter: Adapter, component: str) -> dict[str, Any]:
    """Return the minimal PEFT configuration of one component; older versions of PEFT fail on keys that they do not know."""
    # A target matches the end of a path, so that it fits a text encoder with or without the text_model level.
    ranks = {module.removeprefix(_TEXT_MODEL): layer.rank for module, layer in adapter.of(component).items()}
    common_rank = Counter(ranks.values()).most_common(1)[0][0]
    other_ranks = {module: rank for module, rank in sorted(ranks.items()) if rank != common_rank}
    config: dict[str, Any] = {"r": common_rank, "lora_alpha": common_rank, "target_modules": sorted(ranks)}
    if other_ranks:
        config |= {"rank_pattern": other_ranks, "alpha_pattern": other_ranks}
    if any(layer.magnitude is not None for layer in adapter.of(component).values()):
        config["use_dora"] = True
    return {f"{component}.{key}": value for key, value in config.items()}
