"""Changes on loaded modules: forward hooks add them to a module's output, and removing the hooks restores the base exactly.

Modules are not wrapped and their weights not modified: only the output changes. So a quantized base supports the same changes as
any other, and a module without an active change gives the output it always gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zthumb.adapters.change import Change
from zthumb.adapters.merged_effect import MergedEffect

_ATTRIBUTE = "_zthumb_changes"


class ModuleChanges:
    """The changes of one module by adapter name, and the weight of each active adapter."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.by_name: dict[str, Change] = {}
        self.weights: dict[str, float] = {}
        self._handle = module.register_forward_hook(self._add)
        vars(module)[_ATTRIBUTE] = self

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Activate the named adapters with these weights, and no others."""
        self.weights = {name: weight for name, weight in weights.items() if name in self.by_name}

    def remove(self, name: str) -> None:
        """Remove the change of one adapter; remove the hook with the last one."""
        self.by_name.pop(name, None)
        self.weights.pop(name, None)
        if not self.by_name:
            self._handle.remove()
            vars(self._module).pop(_ATTRIBUTE, None)

    @torch.no_grad()
    def total(self) -> tuple[Tensor | None, Tensor | None]:
        """Return what all active adapters together add to the weight and to the bias, float32."""
        base = base_weight(self._module) if any(self.by_name[name].needs_base for name in self.weights) else None
        totals: list[Tensor | None] = [None, None]
        for name, adapter_weight in self.weights.items():
            change = self.by_name[name]
            for index, delta in enumerate((change.delta_weight(base), change.bias())):
                if delta is not None:
                    total = totals[index]
                    totals[index] = adapter_weight * delta if total is None else total + adapter_weight * delta
        return totals[0], totals[1]

    def _add(self, module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not self.weights:
            return None
        weight, bias = (None if delta is None else delta.to(args[0].device, args[0].dtype) for delta in self.total())
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            return _normalize(module, args[0], weight, bias)
        if weight is not None:
            inputs = args[0]
            is_convolution = isinstance(module, nn.Conv2d)
            output = output + (
                module._conv_forward(inputs, weight, None) if is_convolution else functional.linear(inputs, weight)
            )
        if bias is not None:
            output = output + (bias[:, None, None] if isinstance(module, nn.Conv2d) else bias)
        return output


def inject(model: nn.Module, changes: Mapping[str, Change], name: str, device: torch.device) -> None:
    """Add ``changes``, by module path in ``model``, under the adapter ``name``, not yet active; ``device`` computes them."""
    for path, change in changes.items():
        module = unwrapped(model.get_submodule(path))
        module_changes = changes_of(module) or ModuleChanges(module)
        module_changes.by_name[name] = change.to(device)


def changed_modules(model: nn.Module) -> Iterator[ModuleChanges]:
    """Return the changes of every module that has any."""
    return (changes for module in model.modules() if (changes := changes_of(module)) is not None)


def changes_of(module: nn.Module) -> ModuleChanges | None:
    """Return the changes of one module; None if it has none."""
    changes = vars(module).get(_ATTRIBUTE)
    return changes if isinstance(changes, ModuleChanges) else None


@torch.no_grad()
def merge(model: nn.Module, effect: MergedEffect | None = None) -> None:
    """Add the active changes to the weights themselves, and unload all changes; ``effect`` measures what rounding takes."""
    for changes in list(changed_modules(model)):
        module: Any = changes._module
        weight, bias = changes.total()
        if weight is not None:
            before = module.weight.float()
            merged = before + weight
            # Norms are never quantized, and few.
            if effect is not None and merged.dim() > 1:
                effect.add(before, merged)
            module.weight.copy_(merged)
        if bias is not None:
            if module.bias is None:
                module.bias = nn.Parameter(torch.zeros_like(bias, dtype=module.weight.dtype), requires_grad=False)
            module.bias += bias.to(module.bias.dtype)
    unload(model)


def unload(model: nn.Module) -> None:
    """Remove every change; each module is as it was before."""
    for changes in list(changed_modules(model)):
        for name in list(changes.by_name):
            changes.remove(name)


def base_weight(module: Any) -> Tensor:
    """Return a module's own weight, float32, dequantized where it is quantized."""
    module = unwrapped(module)
    if hasattr(module, "original_weight"):
        # A layer that keeps its weight in a form of its own.
        original: Tensor = module.original_weight()
        return original
    weight = module.weight
    dequantized: Tensor = weight.dequantize() if hasattr(weight, "dequantize") and type(weight) is not nn.Parameter else weight
    return dequantized.detach().float()


def unwrapped(module: Any) -> Any:
    """Return the module inside PEFT's wrapper, or the module itself if it has none."""
    return module.get_base_layer() if hasattr(module, "get_base_layer") else module


def _normalize(module: nn.GroupNorm | nn.LayerNorm, inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scale, shift = (
        parameter if delta is None else parameter + delta.to(parameter.dtype)
        for parameter, delta in ((module.weight, weight), (module.bias, bias))
    )
    if isinstance(module, nn.GroupNorm):
        return functional.group_norm(inputs, module.num_groups, scale, shift, module.eps)
    return functional.layer_norm(inputs, module.normalized_shape, scale, shift, module.eps)
