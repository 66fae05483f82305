"""Combine several adapters into one whose change of the model is exactly the weighted sum of theirs."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter, Layer


def merge(weighted: Sequence[tuple[Adapter, float]]) -> Adapter:
    """Return the sum of ``weighted`` adapters; its rank in a module is the sum of their ranks there.

    Raises ``BadInput`` for a DoRA: its change depends on the base's weights and cannot be added to another.
    """
    if any(adapter.has_magnitudes for adapter, _ in weighted):
        raise BadInput("a DoRA cannot be merged with another adapter: its change depends on the weights that it is applied to.")
    paths = sorted({path for adapter, _ in weighted for path in adapter.layers})
    layers = {path: _sum([(a.layers[path], weight) for a, weight in weighted if path in a.layers]) for path in paths}
    embeddings = tuple(embedding for adapter, _ in weighted for embedding in adapter.embeddings)
    notes = dict.fromkeys(note for adapter, _ in weighted for note in adapter.notes)
    return Adapter(layers, embeddings, notes=tuple(notes))


def _sum(weighted: Sequence[tuple[Layer, float]]) -> Layer:
    import torch

    factors = [(layer.factors, weight) for layer, weight in weighted]
    up = torch.cat([up * weight for (up, _), weight in factors], dim=1)
    down = torch.cat([down for (_, down), _ in factors], dim=0)
    return weighted[0][0].with_factors(up, down)
