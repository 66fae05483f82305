"""Modules that a file has as one, such as projections of queries, keys and values: read as one and divided, or joined again.

Transformers of Black Forest Labs, Tongyi and others compute several projections at once. diffusers has a module for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.adapters import kinds
from zthumb.adapters.adapter import Layer
from zthumb.adapters.change import Change
from zthumb.adapters.module_shapes import ModuleShapes, Place
from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, join

if TYPE_CHECKING:
    from torch import Tensor

Fused = Mapping[str, tuple[Place, ...]]
"""By the path of a module that is no module of the base, the modules whose rows it has, from its first row to its last."""


def is_fused(places: Sequence[Place]) -> bool:
    """Whether what a file has under one name differs from a module of the base."""
    return len(places) != 1 or places[0].key.rows != WHOLE or places[0].key.halves_swapped


def with_fused(base: ModuleShapes, fused: Fused) -> ModuleShapes:
    """Return ``base`` with the ``fused`` modules as further ones."""
    shapes = {path: _fused_shape(places, base) for path, places in fused.items()}
    read = base.weights

    def weight(path: str) -> Tensor:
        assert read is not None
        return join([(place.key, read(place.path)) for place in fused[path]]) if path in fused else read(path)

    return replace(base, shapes={**base.shapes, **shapes}, weights=None if read is None else weight)


def divide_layer(layer: Layer, places: Sequence[Place]) -> dict[str, Layer]:
    """Return by path the layer of each module whose rows ``layer`` has; what changes nothing in one is left out of it."""
    divided = {}
    for path, key in places:
        up = key.select(layer.up)
        # A file that was joined from separate layers has columns for each of them, which are zero in the others.
        used = up.flatten(1).any(dim=0) if up.any() else None
        down = layer.down if used is None or used.all() else layer.down[used]
        up = up if used is None or used.all() else up[:, used]
        magnitude = None if layer.magnitude is None else key.select(layer.magnitude)
        divided[path] = replace(layer, down=down, up=up, magnitude=magnitude)
    return divided


def divide_change(change: Change, places: Sequence[Place], base: ModuleShapes, path: str) -> dict[str, Change]:
    """Return by path the change of each module whose rows ``change`` has, as full differences."""
    delta = change.delta_weight(base.weight(path) if change.needs_base else None)
    bias, divided = change.bias(), {}
    for part, key in places:
        tensors = {} if delta is None else {"diff": key.select(delta).contiguous()}
        tensors |= {} if bias is None else {"diff_b": key.select(bias).contiguous()}
        divided[part] = Change(kinds.get("full"), tensors, base.shapes[part])
    return divided


def join_layers(name: str, parts: Sequence[tuple[CheckpointKey, Layer]]) -> Layer:
    """Return one layer for what a file has under ``name``: the ranks of the ``parts`` add up. Modules without one do not change.

    Raises ``BadInput`` for DoRA layers of some of the modules alone, since the norms of the others are not known.
    """
    import torch

    rows = [key.rows for key, _ in parts]
    first_key, first = parts[0]
    total = len(first.up) * first_key.rows.of // (first_key.rows.stop - first_key.rows.start)
    is_complete = sum(row.stop - row.start for row in rows) == rows[0].of
    if any(layer.magnitude is not None for _, layer in parts) and not is_complete:
        raise BadInput(f"{name}: a DoRA of a part of these fused projections has no kohya layout. Write the diffusers layout.")
    rank = sum(layer.rank for _, layer in parts)
    up, column = torch.zeros(total, rank), 0
    for key, layer in parts:
        placed = join([(replace(key, rows=WHOLE), layer.fold_scale().up.float())])
        up[key.rows.among(total), column : column + layer.rank] = placed
        column += layer.rank
    down = torch.cat([layer.down.float() for _, layer in parts])
    magnitudes = [(key, layer.magnitude) for key, layer in parts if layer.magnitude is not None]
    dtype = first.up.dtype
    return Layer(down.to(dtype), up.to(dtype), 1.0, join(magnitudes) if magnitudes else None)


def join_changes(name: str, parts: Sequence[tuple[CheckpointKey, Change]]) -> Change:
    """Return one full difference for what a file has under ``name``; modules without a change do not change.

    Raises ``BadInput`` for changes that depend on the base's own weights.
    """
    import torch

    first_key, first = parts[0]
    total = first.shape[0] * first_key.rows.of // (first_key.rows.stop - first_key.rows.start)
    joined, joined_bias = torch.zeros(total, *first.shape[1:]), torch.zeros(total)
    for key, change in parts:
        if change.needs_base:
            raise BadInput(f"{name}: a {change.kind.title} of a part of these fused projections has no kohya layout.")
        delta = change.delta_weight(None)
        if delta is not None:
            joined[key.rows.among(total)] = join([(replace(key, rows=WHOLE), delta)])
        if (bias := change.bias()) is not None:
            joined_bias[key.rows.among(total)] = join([(replace(key, rows=WHOLE), bias)])
    biases = {"diff_b": joined_bias} if any(change.bias() is not None for _, change in parts) else {}
    return Change(kinds.get("full"), {"diff": joined, **biases}, tuple(joined.shape))


def _fused_shape(places: Sequence[Place], base: ModuleShapes) -> tuple[int, ...]:
    shapes = [base.shapes[place.path] for place in places]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])
