"""Adapters on a loaded base: put on, weighed, taken off again.

PEFT is asked directly. diffusers' own loader takes the detour over its guesses at names, ranks and alphas, which loses the scale
of modules whose rank is not the usual one and knows no DoRA or text projection in some layouts.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from foundation.errors import BadInput
from zthumb.adapters import hooks
from zthumb.adapters.adapter import Adapter, Layer

_TEXT_MODEL = "text_model."
_TRAINED, _UNTOUCHED = "trained", "untouched"

Parts = Mapping[str, Any]


def inject(parts: Parts, adapter: Adapter, name: str) -> None:
    """Put ``adapter`` onto the ``parts`` of a pipeline it is for, called ``name``; ``weigh`` says which of those on count.

    It must have been read for this base (``reader.load``), and no other of its name may be on: nothing is checked here.
    """
    for part in adapter.parts:
        model = parts[part]
        if layers := {_path_in(model, path): layer for path, layer in adapter.of(part).items()}:
            _inject(model, layers, name)
        hooks.inject(model, {_path_in(model, path): each for path, each in adapter.changes_of(part).items()}, name)


def adapted_modules(parts: Parts) -> list[Any]:
    """What has an adapter on: PEFT's modules and changes; it is another when one is put on or taken off."""
    found: list[Any] = [module for model in parts.values() for module in _adapted(model)]
    return found + [changed for model in parts.values() for changed in hooks.changed_modules(model)]


def set_weights(modules: Sequence[Any], weights: Mapping[str, float]) -> None:
    """Let the named adapters count with these weights in all ``adapted_modules``, and no other at all. A weight of 0 is the base.

    Between 0 and 1 a DoRA's norms go evenly from the base's to its own.
    """
    counting = {name: weight for name, weight in weights.items() if weight != 0}
    for module in modules:
        if isinstance(module, hooks.ModuleChanges):
            module.set_weights(counting)
            continue
        # Plain dictionaries of PEFT's: torch's own look-ups, made for all modules at each request, take most of a millisecond.
        there = [name for name in counting if name in module.scaling]
        # PEFT's set_adapter also walks over every weight, to say whether it is trained: none is.
        vars(module)["_active_adapter"] = there
        for name in there:
            module.set_scale(name, counting[name])
            if module.use_dora[name]:
                norms = module.lora_magnitude_vector[name]
                norms.weight.data.copy_(getattr(norms, _UNTOUCHED).lerp(getattr(norms, _TRAINED), counting[name]))


def remove(parts: Parts, name: str) -> None:
    """Remove the adapter called ``name`` alone; with the last one goes all that held them."""
    for model in parts.values():
        for changed in list(hooks.changed_modules(model)):
            changed.remove(name)
        others = set()
        for module in _adapted(model):
            if name in module.lora_A:
                # PEFT would let another one count in its place.
                module.set_adapter([each for each in module.active_adapters if each != name], inference_mode=True)
                module.delete_adapter(name)
            others |= set(module.lora_A)
        getattr(model, "peft_config", {}).pop(name, None)
        if not others:
            _unwrap(model)


def unload(parts: Parts) -> None:
    """Remove every adapter: each module is again the object it was before."""
    for model in parts.values():
        hooks.unload(model)
        _unwrap(model)


def _unwrap(model: Any) -> None:
    """Put every module back from behind what PEFT has put around it."""
    from diffusers.utils import recurse_remove_peft_layers

    recurse_remove_peft_layers(model)
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        if attribute in vars(model):
            delattr(model, attribute)


def merge(parts: Parts) -> None:
    """Add the adapters, as they are weighed, to the base's weights, and take them off."""
    for model in parts.values():
        # What depends on the base's weights is made of them as they are now.
        hooks.merge(model)
        for module in _adapted(model):
            if module.active_adapters:
                module.merge()
    unload(parts)


def _inject(model: Any, layers: Mapping[str, Layer], name: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    _check_weights(model, layers)
    ranks = {path: layer.rank for path, layer in layers.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {path: rank for path, rank in ranks.items() if rank != usual}
    config = LoraConfig(
        r=usual,
        lora_alpha=usual,
        rank_pattern=others,
        alpha_pattern=others,
        target_modules=sorted(ranks),
        use_dora=any(layer.magnitude is not None for layer in layers.values()),
    )
    with warnings.catch_warnings():
        # That there is another adapter already is what is wanted.
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        # Nothing is ever merged into weights of few bits.
        warnings.filterwarnings("ignore", "TorchaoLoraLinear was instantiated without")
        inject_adapter_in_model(config, model, adapter_name=name)
    added = [module for module in _adapted(model) if name in module.lora_A]
    for module in added:
        if name in module.lora_magnitude_vector:
            # PEFT begins with the norms of the base's own weight.
            norms = module.lora_magnitude_vector[name]
            norms.register_buffer(_UNTOUCHED, norms.weight.detach().clone(), persistent=False)
    left = set_peft_model_state_dict(model, Adapter(layers).peft(), adapter_name=name)
    assert not left.unexpected_keys, left.unexpected_keys
    for module in added:
        if name in module.lora_magnitude_vector:
            norms = module.lora_magnitude_vector[name]
            norms.register_buffer(_TRAINED, norms.weight.detach().clone(), persistent=False)
        module.requires_grad_(False)
        module.to(next(model.parameters()).dtype)


def _check_weights(model: Any, layers: Mapping[str, Layer]) -> None:
    for path, layer in layers.items():
        if layer.magnitude is not None and not model.get_submodule(path).weight.is_floating_point():
            raise BadInput("a DoRA takes the norms of the base's weights, which a GGUF file has in blocks: take variant full.")


def _adapted(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _path_in(model: nn.Module, path: str) -> str:
    # Whether a text encoder has its layers in a module called text_model depends on its class and on transformers' version.
    return path if hasattr(model, "text_model") else path.removeprefix(_TEXT_MODEL)
