"""Adapters on a loaded base: put on, weighed, taken off again.

PEFT is asked directly. diffusers' own loader takes the detour over its guesses at names, ranks and alphas, which loses the scale
of modules whose rank is not the usual one and knows no DoRA or text projection in some layouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from zthumb.adapters.adapter import Adapter, Layer

_TEXT_MODEL = "text_model."

Parts = Mapping[str, Any]


def put_on(parts: Parts, adapter: Adapter, name: str) -> None:
    """Put ``adapter`` onto the ``parts`` of a pipeline it is for, called ``name`` and at weight one, beside others there may be.

    It must have been read for this base (``reader.load``): nothing is checked here.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    for part in adapter.parts:
        model = parts[part]
        layers = {_path_in(model, path): layer for path, layer in adapter.of(part).items()}
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
        inject_adapter_in_model(config, model, adapter_name=name)
        left = set_peft_model_state_dict(model, _weights(layers), adapter_name=name)
        assert not left.unexpected_keys, left.unexpected_keys
        for module in _adapted(model):
            module.to(next(model.parameters()).dtype)


def weigh(parts: Parts, weights: Mapping[str, float]) -> None:
    """Let the named adapters count with these weights, 0 for the base, and no other at all."""
    from diffusers.utils import set_weights_and_activate_adapters

    for model in parts.values():
        known = {name for module in _adapted(model) for name in module.lora_A} if weights else set()
        there = {name: weight for name, weight in weights.items() if name in known}
        if there:
            set_weights_and_activate_adapters(model, list(there), list(there.values()))


def take_off(parts: Parts) -> None:
    """Remove every adapter: each module is again the object it was before."""
    from diffusers.utils import recurse_remove_peft_layers

    for model in parts.values():
        recurse_remove_peft_layers(model)
        for attribute in ("peft_config", "_hf_peft_config_loaded"):
            if attribute in vars(model):
                delattr(model, attribute)


def work_in(parts: Parts) -> None:
    """Add the adapters, as they are weighed, to the base's weights, and take them off."""
    for model in parts.values():
        for module in _adapted(model):
            module.merge()
    take_off(parts)


def _adapted(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _path_in(model: nn.Module, path: str) -> str:
    # Whether a text encoder has its layers in a module called text_model depends on its class and on transformers' version.
    return path if hasattr(model, "text_model") else path.removeprefix(_TEXT_MODEL)


def _weights(layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    return Adapter(layers).peft()
