"""Changes on loaded modules: added to what a module gives, and taken off without a trace.

A module is not wrapped and its weight not touched. What it gives is changed behind it, so that a base in few bits takes changes
as any other, and one that nothing changes gives what it always gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zthumb.adapters.change import Change
from zthumb.gguf.linear import BlockLinear, dequantize

_ATTRIBUTE = "_zthumb_changes"


class ModuleChanges:
    """The changes of one module by the adapters' names, and how much each counts."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.by_name: dict[str, Change] = {}
        self.weights: dict[str, float] = {}
        self._handle = module.register_forward_hook(self._add)
        vars(module)[_ATTRIBUTE] = self

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Let the named ones count, and no other."""
        self.weights = {name: weight for name, weight in weights.items() if name in self.by_name}

    def remove(self, name: str) -> None:
        """Forget one; with the last one goes everything."""
        self.by_name.pop(name, None)
        self.weights.pop(name, None)
        if not self.by_name:
            self._handle.remove()
            vars(self._module).pop(_ATTRIBUTE, None)

    @torch.no_grad()
    def total(self) -> tuple[Tensor | None, Tensor | None]:
        """What is added to weight and bias by all that count, float32."""
        base = base_weight(self._module) if any(self.by_name[name].needs_base for name in self.weights) else None
        added: list[Tensor | None] = [None, None]
        for name, strength in self.weights.items():
            change = self.by_name[name]
            for place, part in enumerate((change.weight(base), change.bias())):
                if part is not None:
                    before = added[place]
                    added[place] = strength * part if before is None else before + strength * part
        return added[0], added[1]

    def _add(self, module: Any, given: tuple[Any, ...], made: Tensor) -> Tensor | None:
        if not self.weights:
            return None
        weight, bias = (None if each is None else each.to(given[0].device, given[0].dtype) for each in self.total())
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            return _normalized(module, given[0], weight, bias)
        if weight is not None:
            inputs = given[0]
            is_convolution = isinstance(module, nn.Conv2d)
            made = made + (module._conv_forward(inputs, weight, None) if is_convolution else functional.linear(inputs, weight))
        if bias is not None:
            made = made + (bias[:, None, None] if isinstance(module, nn.Conv2d) else bias)
        return made


def inject(model: nn.Module, changes: Mapping[str, Change], name: str) -> None:
    """Put ``changes``, by the path of their modules in ``model``, under ``name``; none of them counts yet."""
    for path, change in changes.items():
        module = _bare(model.get_submodule(path))
        found = changes_of(module) or ModuleChanges(module)
        found.by_name[name] = change.to(_device(module))


def changed_modules(model: nn.Module) -> Iterator[ModuleChanges]:
    """The changes of every module that has some."""
    return (found for module in model.modules() if (found := changes_of(module)) is not None)


def changes_of(module: nn.Module) -> ModuleChanges | None:
    """Those of one module."""
    found = vars(module).get(_ATTRIBUTE)
    return found if isinstance(found, ModuleChanges) else None


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add what counts to the weights themselves, and take the changes off."""
    for found in list(changed_modules(model)):
        module: Any = found._module
        weight, bias = found.total()
        if weight is not None:
            module.weight += weight.to(module.weight.dtype)
        if bias is not None:
            if module.bias is None:
                module.bias = nn.Parameter(torch.zeros_like(bias, dtype=module.weight.dtype), requires_grad=False)
            module.bias += bias.to(module.bias.dtype)
    unload(model)


def unload(model: nn.Module) -> None:
    """Remove every change: each module is again as it was."""
    for found in list(changed_modules(model)):
        for name in list(found.by_name):
            found.remove(name)


def base_weight(module: Any) -> Tensor:
    """A module's own weight, float32, spelt out where it is in few bits."""
    module = _bare(module)
    if isinstance(module, BlockLinear):
        return dequantize(module.weight, module.kind, torch.float32).reshape(module.out_features, module.in_features)
    weight = module.weight
    dequantized: Tensor = weight.dequantize() if hasattr(weight, "dequantize") and type(weight) is not nn.Parameter else weight
    return dequantized.detach().float()


def _bare(module: Any) -> Any:
    """The module below what PEFT has put around it."""
    return module.get_base_layer() if hasattr(module, "get_base_layer") else module


def _device(module: Any) -> torch.device:
    device: torch.device = module.weight.device
    return device


def _normalized(module: nn.GroupNorm | nn.LayerNorm, inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scale, shift = (
        own if added is None else own + added.to(own.dtype) for own, added in ((module.weight, weight), (module.bias, bias))
    )
    if isinstance(module, nn.GroupNorm):
        return functional.group_norm(inputs, module.num_groups, scale, shift, module.eps)
    return functional.layer_norm(inputs, module.normalized_shape, scale, shift, module.eps)
