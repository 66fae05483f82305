"""Adapters on a loaded base: inject them, set their weights, unload or merge them.

PEFT is called directly. diffusers' own loader first guesses names, ranks and alphas: it loses the scale of modules whose rank is
not the most common one, and in some layouts it does not support DoRA or the text projection.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from foundation.errors import BadInput
from zthumb.adapters import hooks
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.merged_effect import MergedEffect

_TEXT_MODEL = "text_model."
_ADAPTER_NORMS, _BASE_NORMS = "adapter_norms", "base_norms"
"""Names of the buffers that keep a DoRA's own norms and those of the base's weight."""

Components = Mapping[str, Any]


Target = tuple[torch.device, torch.dtype]
"""Where an adapter computes, and in which precision."""


def inject(components: Components, adapter: Adapter, name: str, target: Target | None = None) -> None:
    """Inject ``adapter`` under ``name`` into the ``components`` of a pipeline; ``set_weights`` then activates it.

    Without a ``target`` it is that of the component's own weights. Nothing is checked here: the adapter must have been read for
    this base (``reader.load``), and ``name`` must not be in use.
    """
    for component in adapter.parts:
        model = components[component]
        first = next(model.parameters())
        device, dtype = target or (first.device, first.dtype)
        if layers := {_path_in(model, path): layer for path, layer in adapter.of(component).items()}:
            _inject(model, layers, name, (device, dtype))
        changes = {_path_in(model, path): change for path, change in adapter.changes_of(component).items()}
        hooks.inject(model, changes, name, device)


def adapted_modules(components: Components) -> list[Any]:
    """Return what holds the adapters: PEFT's layers and ``ModuleChanges``. Injecting or removing an adapter changes the list."""
    modules: list[Any] = [module for model in components.values() for module in _lora_layers(model)]
    return modules + [changes for model in components.values() for changes in hooks.changed_modules(model)]


def set_weights(modules: Sequence[Any], weights: Mapping[str, float]) -> None:
    """Activate the named adapters with these weights in all ``adapted_modules``, and no others. A weight of 0 gives the base.

    Between 0 and 1, the norms of a DoRA are interpolated linearly between the base's and its own.
    """
    nonzero = {name: weight for name, weight in weights.items() if weight != 0}
    for module in modules:
        if isinstance(module, hooks.ModuleChanges):
            module.set_weights(nonzero)
            continue
        # These are plain dictionaries of PEFT's: torch's attribute look-ups, for all modules in each request, take most of a
        # millisecond.
        active = [name for name in nonzero if name in module.scaling]
        # PEFT's set_adapter would also walk over every parameter to set requires_grad: none is trained.
        vars(module)["_active_adapter"] = active
        for name in active:
            module.set_scale(name, nonzero[name])
            if module.use_dora[name]:
                norms = module.lora_magnitude_vector[name]
                norms.weight.data.copy_(getattr(norms, _BASE_NORMS).lerp(getattr(norms, _ADAPTER_NORMS), nonzero[name]))


def remove(components: Components, name: str) -> None:
    """Remove only the adapter called ``name``; when it was the last one, unwrap the modules too."""
    for model in components.values():
        for changes in list(hooks.changed_modules(model)):
            changes.remove(name)
        remaining = set()
        for module in _lora_layers(model):
            if name in module.lora_A:
                # PEFT would otherwise activate another adapter in its place.
                module.set_adapter([active for active in module.active_adapters if active != name], inference_mode=True)
                module.delete_adapter(name)
            remaining |= set(module.lora_A)
        getattr(model, "peft_config", {}).pop(name, None)
        if not remaining:
            _unwrap(model)


def unload(components: Components) -> None:
    """Remove every adapter; each module is the original object again."""
    for model in components.values():
        hooks.unload(model)
        _unwrap(model)


def _unwrap(model: Any) -> None:
    """Replace every PEFT layer by the module that it wraps."""
    from diffusers.utils import recurse_remove_peft_layers

    recurse_remove_peft_layers(model)
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        if attribute in vars(model):
            delattr(model, attribute)


def merge(components: Components, effect: MergedEffect | None = None) -> None:
    """Add the active adapters, with their weights, to the base's weights, and unload all adapters.

    Sums are rounded once, to the precision of the base; ``effect`` measures what is lost by that.
    """
    for model in components.values():
        # First the changes: some are computed from the base's weights, which must still be unmodified.
        hooks.merge(model, effect)
        for module in _lora_layers(model):
            if module.active_adapters:
                _merge(module, effect)
    unload(components)


def _merge(module: Any, effect: MergedEffect | None) -> None:
    weight = module.get_base_layer().weight
    before = weight.data
    weight.data = before.float() if before.dtype != torch.float32 or effect is None else before.clone()
    module.merge()
    if effect is not None:
        effect.add(before.float(), weight.data)
    weight.data = weight.data.to(before.dtype)


def _inject(model: Any, layers: Mapping[str, Layer], name: str, target: Target) -> None:
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    _check_weights(model, layers)
    ranks = {path: layer.rank for path, layer in layers.items()}
    common_rank = Counter(ranks.values()).most_common(1)[0][0]
    other_ranks = {path: rank for path, rank in ranks.items() if rank != common_rank}
    config = LoraConfig(
        r=common_rank,
        lora_alpha=common_rank,
        rank_pattern=other_ranks,
        alpha_pattern=other_ranks,
        target_modules=sorted(ranks),
        use_dora=any(layer.magnitude is not None for layer in layers.values()),
    )
    with warnings.catch_warnings():
        # Several adapters at once are intended.
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        # Nothing is ever merged into quantized weights.
        warnings.filterwarnings("ignore", "TorchaoLoraLinear was instantiated without")
        inject_adapter_in_model(config, model, adapter_name=name)
    added = [module for module in _lora_layers(model) if name in module.lora_A]
    for module in added:
        _move(module, name, target)
        if name in module.lora_magnitude_vector:
            # PEFT initializes them with the norms of the base's own weight: once more for one that waits in another precision.
            norms = module.lora_magnitude_vector[name]
            down, up = (matrix[name].weight for matrix in (module.lora_A, module.lora_B))
            norms.update_layer(base_layer=module.get_base_layer(), lora_A=down, lora_B=up, scaling=1.0)
            norms.register_buffer(_BASE_NORMS, norms.weight.detach().clone(), persistent=False)
    result = set_peft_model_state_dict(model, Adapter(layers).to_peft(), adapter_name=name)
    assert not result.unexpected_keys, result.unexpected_keys
    for module in added:
        if name in module.lora_magnitude_vector:
            norms = module.lora_magnitude_vector[name]
            norms.register_buffer(_ADAPTER_NORMS, norms.weight.detach().clone(), persistent=False)
        module.requires_grad_(False)
        _move(module, name, target)


def _move(module: Any, name: str, target: Target) -> None:
    """Move a layer's adapter, which PEFT puts where the base's own weight is, to ``target``."""
    for kind in module.adapter_layer_names:
        if name in (by_name := getattr(module, kind)):
            by_name[name] = by_name[name].to(*target)


def _check_weights(model: Any, layers: Mapping[str, Layer]) -> None:
    for path, layer in layers.items():
        if layer.magnitude is None:
            continue
        module = hooks.unwrapped(model.get_submodule(path))
        if hasattr(module, "original_weight") and not hasattr(module.weight, "quant_state"):
            # PEFT reads the weights of others, bitsandbytes' among them, and takes what is kept here for numbers.
            raise BadInput(
                f"a DoRA needs the norms of the base's weights, and {path} keeps its own in a form that PEFT cannot read: "
                f"{module.instead}."
            )


def _lora_layers(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _path_in(model: nn.Module, path: str) -> str:
    # Whether a text encoder has its layers in a module called text_model depends on its class and on transformers' version.
    return path if hasattr(model, "text_model") else path.removeprefix(_TEXT_MODEL)
