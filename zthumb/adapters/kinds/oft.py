"""OFT (arXiv 2306.07280) and BOFT (arXiv 2311.06243): blocks of the outputs are rotated, in BOFT in several stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, _: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    rotations = tensors["rotations"]
    turned = _staged(base, rotations) if rotations.dim() == 4 else _turned(base, rotations)
    rescale = tensors.get("rescale")
    if rescale is not None:
        turned = turned * rescale.reshape(-1, *(1,) * (base.dim() - 1))
    return turned - base


def _ready(tensors: Tensors) -> Tensors:
    constraint = float(tensors["alpha"].flatten()[0]) if "alpha" in tensors else 0.0
    return {**tensors, "rotations": _rotations(tensors["oft_blocks"], constraint)}


def _rotations(blocks: Tensor, constraint: float) -> Tensor:
    """Cayley's map of the blocks' skew-symmetric parts, no longer than ``constraint`` in all where that is above 0."""
    import torch

    skew = blocks - blocks.transpose(-1, -2)
    length = float(skew.norm()) + 1e-8
    if 0 < constraint < length:
        skew = skew * (constraint / length)
    identity = torch.eye(blocks.shape[-1], device=blocks.device)
    rotations: Tensor = (identity + skew) @ torch.linalg.inv(identity - skew)
    return rotations


def _turned(base: Tensor, rotations: Tensor) -> Tensor:
    import torch

    count, size, _ = rotations.shape
    blocks = base.reshape(count, size, *base.shape[1:])
    return torch.einsum("k n m, k n ... -> k m ...", rotations, blocks).reshape(base.shape)


def _staged(base: Tensor, rotations: Tensor) -> Tensor:
    """Each stage rotates outputs that lie twice as far apart as those of the one before (a butterfly)."""
    import torch

    size, rest = rotations.shape[-1], base.shape[1:]
    for stage, each in enumerate(rotations):
        apart = 2**stage * size // 2
        mixed = base.reshape(-1, 2, apart, *rest).transpose(1, 2).reshape(-1, size, *rest)
        mixed = torch.einsum("b i j, b j ... -> b i ...", each, mixed)
        base = mixed.reshape(-1, apart, 2, *rest).transpose(1, 2).reshape(base.shape)
    return base


KIND = Kind(title="OFT", marks=("oft_blocks",), others=("rescale",), weight=_weight, needs_base=True, ready=_ready)
