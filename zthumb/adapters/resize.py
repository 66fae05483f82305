"""An adapter of a smaller rank that changes the model as nearly the same as that rank allows (Eckart-Young)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.effect import dense_change
from zthumb.adapters.module_shapes import ModuleShapes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Resized:
    """The smaller adapter, and the share of each module's change that it keeps (of the squared Frobenius norm, 0 … 1)."""

    adapter: Adapter
    kept: dict[str, float]


def resize(adapter: Adapter, rank: int | None = None, keep: float = 1.0) -> Resized:
    """At most ``rank``, and for each module no more than it takes to keep the share ``keep`` of its change."""
    layers, kept = {}, {}
    for path, layer in adapter.layers.items():
        layers[path], kept[path] = _smaller(layer, rank or layer.rank, keep)
    return Resized(Adapter(layers, adapter.words, notes=adapter.notes), kept)


def as_lora(adapter: Adapter, base: ModuleShapes, rank: int) -> Resized:
    """The nearest plain LoRA of ``rank`` in every module, whatever the adapter is made of; a LoRA of no higher rank stays.

    Raises ``BadInput`` where that is nothing of it: a LoRA can change neither biases nor norms.
    """
    layers, kept, left = {}, {}, []
    for path in adapter.paths:
        own = adapter.layers.get(path)
        if path not in adapter.changes and own is not None and own.magnitude is None and own.rank <= rank:
            layers[path], kept[path] = own, 1.0
            continue
        if path in adapter.changes and adapter.changes[path].bias() is not None:
            left.append(f"the bias of {path}")
        change = dense_change(adapter, path, base)
        if change is None or path not in base.shapes:
            left += [f"the norm {path}"] if change is not None else []
            continue
        layers[path], kept[path] = _of_dense(change, rank)
    if not layers:
        raise BadInput(f"a LoRA can hold nothing of it: it changes only {', '.join(left[:3])}.")
    notes = (*adapter.notes, *([f"a LoRA cannot hold {len(left)} of its changes, as {left[0]}"] if left else []))
    return Resized(Adapter(layers, adapter.words, notes=notes), kept)


def _of_dense(change: Tensor, rank: int) -> tuple[Layer, float]:
    """A layer of at most ``rank`` for a change (out, in, …), and the share of its squared norm that it keeps."""
    import torch

    left, values, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
    energy = values.square()
    count = min(rank, len(values))
    root = values[:count].sqrt()
    up = (left[:, :count] * root).reshape(-1, count, *(1,) * (change.dim() - 2))
    down = (root[:, None] * right[:count]).reshape(count, *change.shape[1:])
    return Layer(down.contiguous(), up.contiguous()), round(float(energy[:count].sum() / energy.sum().clamp(min=1e-30)), 6)


def _smaller(layer: Layer, rank: int, keep: float) -> tuple[Layer, float]:
    import torch

    left, values, right = decompose(layer)
    energy = values.square()
    total = float(energy.sum())
    if total == 0:
        return layer.with_factors(torch.zeros(left.shape[0], 1), torch.zeros(1, right.shape[1])), 1.0
    share = energy.cumsum(0) / energy.sum()
    enough = int((share < keep).sum()) + 1
    chosen = max(1, min(rank, enough, len(values)))
    root = values[:chosen].sqrt()
    smaller = layer.with_factors((left[:, :chosen] * root).contiguous(), (root[:, None] * right[:chosen]).contiguous())
    return smaller, round(float(share[chosen - 1]), 6)


def decompose(layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of a layer's change: (out, rank), (rank,) falling, (rank, in · kernel)."""
    import torch

    up, down = layer.factors
    # The whole change would be a large matrix; that of the factors' triangular parts is of the rank's size.
    up_directions, up_part = torch.linalg.qr(up)
    down_directions, down_part = torch.linalg.qr(down.T)
    left, values, right = torch.linalg.svd(up_part @ down_part.T)
    rank = len(values)
    # The signs of singular vectors are the library's whim: the largest entry of each is made positive.
    left = up_directions @ left[:, :rank]
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    signs = torch.where(signs == 0, torch.ones_like(signs), signs)
    return left * signs, values, (right[:rank] @ down_directions.T) * signs.T
