"""LoKr (arXiv 2309.14859): the Kronecker product of two matrices, each whole or factorized again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, NotWhole, Shape, Tensors, check_size, fitted, product

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    import torch

    first, second = (_factor(tensors, number, shape) for number in ("1", "2"))
    check_size(first.numel() * second.numel(), shape)
    # A convolution's kernel is the second factor's alone.
    first = first.reshape(*first.shape, *(1,) * (second.dim() - first.dim()))
    return fitted(torch.kron(first, second.contiguous()) * _scale(tensors), shape)


def _factor(tensors: Tensors, number: str, shape: Shape) -> Tensor:
    import torch

    whole = tensors.get(f"lokr_w{number}")
    if whole is not None:
        return whole
    one, other, core = (tensors.get(name) for name in (f"lokr_w{number}_a", f"lokr_w{number}_b", f"lokr_t{number}"))
    if one is None or other is None:
        raise NotWhole(f"lokr_w{number}, or lokr_w{number}_a and lokr_w{number}_b, is missing")
    if core is None:
        # The second of a convolution holds the kernel in its columns, or has it as axes.
        return product(one, other.flatten(1), shape).reshape(one.shape[0], *other.shape[1:])
    check_size(one.shape[1] * other.shape[1] * core[0, 0].numel(), shape)
    return torch.einsum("i j ..., i p, j r -> p r ...", core, one, other)


def _scale(tensors: Tensors) -> float:
    """Alpha ÷ rank; where both factors are whole there is no rank, and alpha says nothing."""
    rank = next((tensors[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors), None)
    alpha = tensors.get("alpha")
    return 1.0 if rank is None or alpha is None else float(alpha.flatten()[0]) / rank


KIND = Kind(
    title="LoKr",
    marks=("lokr_w1", "lokr_w1_a"),
    others=("lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t1", "lokr_t2"),
    weight=_weight,
)
