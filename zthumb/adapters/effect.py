"""What an adapter of any kind does to a base's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.change import apply_dora
from zthumb.adapters.module_shapes import ModuleShapes

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-5
"""Relative to the norm of the base's weight: the largest change by which an untrained adapter may differ from zero, because other
libraries round differently."""


def dense_delta_weight(adapter: Adapter, path: str, base: ModuleShapes) -> Tensor | None:
    """Return what the adapter adds to the weight of a module, in its shape, float32; None where it adds only to the bias."""
    deltas: list[Tensor] = []
    if (layer := adapter.layers.get(path)) is not None:
        product = layer.change()
        deltas.append(product if layer.magnitude is None else apply_dora(base.weight(path), product, layer.magnitude, axis=0))
    if (change := adapter.changes.get(path)) is not None:
        delta = change.delta_weight(base.weight(path) if change.needs_base else None)
        deltas += [] if delta is None else [delta]
    return sum(deltas[1:], deltas[0]) if deltas else None


def check_effect(adapter: Adapter, base: ModuleShapes, file: Path) -> None:
    """Raise ``BadInput`` for an adapter that changes nothing: its factors or its alpha are zero, or it was never trained."""
    if any(_has_effect(adapter, path, base) for path in adapter.paths) or adapter.embeddings:
        return
    raise BadInput(
        f"{file}: changes nothing: its factors or its alpha are zero, or it was never trained. Use a later checkpoint, or the "
        "final adapter file."
    )


def _has_effect(adapter: Adapter, path: str, base: ModuleShapes) -> bool:
    layer, change = adapter.layers.get(path), adapter.changes.get(path)
    bias = None if change is None else change.bias()
    if bias is not None and bool(bias.any()):
        return True
    if layer is not None and layer.magnitude is None and change is None and not layer.has_base_subtracted:
        return layer.scale != 0 and bool(layer.up.any()) and bool(layer.down.any())
    if change is None and layer is not None and layer.magnitude is not None and base.weights is None:
        return True  # There is no base weight to compare the DoRA's norms with.
    delta = dense_delta_weight(adapter, path, base)
    if delta is None:
        return False
    threshold = _ROUNDING * float(base.weight(path).norm()) if base.weights is not None else 0.0
    return float(delta.norm()) > threshold
