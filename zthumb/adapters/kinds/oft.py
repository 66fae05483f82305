"""OFT (arXiv 2306.07280) and BOFT (arXiv 2311.06243): blocks of outputs are rotated, in BOFT in several stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, _: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    rotations = tensors["rotations"]
    rotated = _rotate_in_stages(base, rotations) if rotations.dim() == 4 else _rotate(base, rotations)
    rescale = tensors.get("rescale")
    if rescale is not None:
        rotated = rotated * rescale.reshape(-1, *(1,) * (base.dim() - 1))
    return rotated - base


def _prepare(tensors: Tensors) -> Tensors:
    constraint = float(tensors["alpha"].flatten()[0]) if "alpha" in tensors else 0.0
    return {**tensors, "rotations": _rotations(tensors["oft_blocks"], constraint)}


def _rotations(blocks: Tensor, constraint: float) -> Tensor:
    """Return the Cayley transform of the blocks' skew-symmetric parts, their total norm limited to a positive ``constraint``."""
    import torch

    skew = blocks - blocks.transpose(-1, -2)
    length = float(skew.norm()) + 1e-8
    if 0 < constraint < length:
        skew = skew * (constraint / length)
    identity = torch.eye(blocks.shape[-1], device=blocks.device)
    rotations: Tensor = (identity + skew) @ torch.linalg.inv(identity - skew)
    return rotations


def _rotate(base: Tensor, rotations: Tensor) -> Tensor:
    import torch

    count, size, _ = rotations.shape
    blocks = base.reshape(count, size, *base.shape[1:])
    return torch.einsum("k n m, k n ... -> k m ...", rotations, blocks).reshape(base.shape)


def _rotate_in_stages(base: Tensor, rotations: Tensor) -> Tensor:
    """Rotate in stages; each rotates outputs that are twice as far apart as those of the stage before (a butterfly)."""
    import torch

    size, rest = rotations.shape[-1], base.shape[1:]
    for stage, blocks in enumerate(rotations):
        stride = 2**stage * size // 2
        mixed = base.reshape(-1, 2, stride, *rest).transpose(1, 2).reshape(-1, size, *rest)
        mixed = torch.einsum("b i j, b j ... -> b i ...", blocks, mixed)
        base = mixed.reshape(-1, stride, 2, *rest).transpose(1, 2).reshape(base.shape)
    return base


KIND = Kind(
    title="OFT",
    identifying_suffixes=("oft_blocks",),
    other_suffixes=("rescale",),
    delta_weight=_delta_weight,
    needs_base=True,
    prepare=_prepare,
)
