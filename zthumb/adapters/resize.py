"""Reduce the rank of an adapter so that its change stays as close as that rank allows (Eckart-Young)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.effect import dense_delta_weight
from zthumb.adapters.module_shapes import ModuleShapes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Resized:
    """The smaller adapter, and the share of each module's change that it keeps (of the squared Frobenius norm, 0 … 1)."""

    adapter: Adapter
    kept: dict[str, float]


def resize(adapter: Adapter, rank: int | None = None, keep: float = 1.0) -> Resized:
    """Return the adapter with at most ``rank`` per module, and with no more than is needed to keep the share ``keep``."""
    layers, kept = {}, {}
    for path, layer in adapter.layers.items():
        layers[path], kept[path] = _reduce(layer, rank or layer.rank, keep)
    return Resized(Adapter(layers, adapter.embeddings, notes=adapter.notes), kept)


def as_lora(adapter: Adapter, base: ModuleShapes, rank: int) -> Resized:
    """Return the nearest plain LoRA of ``rank`` in every module for an adapter of any kind; a LoRA of no higher rank is copied.

    Raises ``BadInput`` if the LoRA would be empty: a LoRA can change neither biases nor norms.
    """
    layers, kept, dropped = {}, {}, []
    for path in adapter.paths:
        layer = adapter.layers.get(path)
        if path not in adapter.changes and layer is not None and layer.magnitude is None and layer.rank <= rank:
            layers[path], kept[path] = layer, 1.0
            continue
        if path in adapter.changes and adapter.changes[path].bias() is not None:
            dropped.append(f"the bias of {path}")
        change = dense_delta_weight(adapter, path, base)
        if change is None or path not in base.shapes:
            dropped += [f"the norm {path}"] if change is not None else []
            continue
        layers[path], kept[path] = _factorize(change, rank)
    if not layers:
        raise BadInput(f"a LoRA cannot hold any of its changes: it only changes {', '.join(dropped[:3])}.")
    notes = (
        *adapter.notes,
        *([f"a LoRA cannot hold {len(dropped)} of its changes, for example {dropped[0]}"] if dropped else []),
    )
    return Resized(Adapter(layers, adapter.embeddings, notes=notes), kept)


def _factorize(change: Tensor, rank: int) -> tuple[Layer, float]:
    """Return a layer of at most ``rank`` for a change (out, in, …), and the share of its squared norm that it keeps."""
    import torch

    left, values, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
    energy = values.square()
    count = min(rank, len(values))
    root = values[:count].sqrt()
    up = (left[:, :count] * root).reshape(-1, count, *(1,) * (change.dim() - 2))
    down = (root[:, None] * right[:count]).reshape(count, *change.shape[1:])
    return Layer(down.contiguous(), up.contiguous()), round(float(energy[:count].sum() / energy.sum().clamp(min=1e-30)), 6)


def _reduce(layer: Layer, rank: int, keep: float) -> tuple[Layer, float]:
    import torch

    left, values, right = decompose(layer)
    energy = values.square()
    total = float(energy.sum())
    if total == 0:
        return layer.with_factors(torch.zeros(left.shape[0], 1), torch.zeros(1, right.shape[1])), 1.0
    shares = energy.cumsum(0) / energy.sum()
    sufficient = int((shares < keep).sum()) + 1
    count = max(1, min(rank, sufficient, len(values)))
    root = values[:count].sqrt()
    reduced = layer.with_factors((left[:, :count] * root).contiguous(), (root[:, None] * right[:count]).contiguous())
    return reduced, round(float(shares[count - 1]), 6)


def decompose(layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """Return the SVD of a layer's change: (out, rank), (rank,) in descending order, (rank, in · kernel)."""
    import torch

    up, down = layer.factors
    # The dense change would be a large matrix; the product of the triangular factors is only (rank, rank).
    up_basis, up_triangle = torch.linalg.qr(up)
    down_basis, down_triangle = torch.linalg.qr(down.T)
    left, values, right = torch.linalg.svd(up_triangle @ down_triangle.T)
    rank = len(values)
    # The signs of singular vectors depend on the library: make the largest entry of each positive.
    left = up_basis @ left[:, :rank]
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    signs = torch.where(signs == 0, torch.ones_like(signs), signs)
    return left * signs, values, (right[:rank] @ down_basis.T) * signs.T
