"""What an adapter does to a base's weights, whatever it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.change import decomposed
from zthumb.adapters.module_shapes import ModuleShapes

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-5
"""Relative to the base's weight: what an adapter that was not trained differs by, computed with other libraries."""


def dense_change(adapter: Adapter, path: str, base: ModuleShapes) -> Tensor | None:
    """What the adapter adds to the weight of a module, of its shape, float32; None where it adds to the bias alone."""
    found: list[Tensor] = []
    if (layer := adapter.layers.get(path)) is not None:
        added = layer.change()
        found.append(added if layer.magnitude is None else decomposed(base.weight(path), added, layer.magnitude, along=0))
    if (change := adapter.changes.get(path)) is not None:
        made = change.weight(base.weight(path) if change.needs_base else None)
        found += [] if made is None else [made]
    return sum(found[1:], found[0]) if found else None


def check_effect(adapter: Adapter, base: ModuleShapes, file: Path) -> None:
    """Refuse an adapter that changes nothing: zero factors, an alpha of zero, or one that was not trained."""
    if any(_changes(adapter, path, base) for path in adapter.paths) or adapter.words:
        return
    raise BadInput(
        f"{file}: changes nothing: its factors or its alpha are zero, or it was not trained a step. Take a later checkpoint, "
        "or the adapter's own file."
    )


def _changes(adapter: Adapter, path: str, base: ModuleShapes) -> bool:
    layer, change = adapter.layers.get(path), adapter.changes.get(path)
    bias = None if change is None else change.bias()
    if bias is not None and bool(bias.any()):
        return True
    if layer is not None and layer.magnitude is None and change is None and not layer.is_less_base:
        return layer.scale != 0 and bool(layer.up.any()) and bool(layer.down.any())
    if change is None and layer is not None and layer.magnitude is not None and base.weights is None:
        return True  # whose norms there is nothing to compare with
    made = dense_change(adapter, path, base)
    if made is None:
        return False
    least = _ROUNDING * float(base.weight(path).norm()) if base.weights is not None else 0.0
    return float(made.norm()) > least
