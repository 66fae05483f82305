"""LoKr (arXiv 2309.14859): the Kronecker product of two matrices, each stored in full or factorized again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import IncompleteTensors, Kind, Shape, Tensors, check_size, fit_to, product

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    import torch

    first, second = (_factor(tensors, number, shape) for number in ("1", "2"))
    check_size(first.numel() * second.numel(), shape)
    # Only the second factor has the kernel axes of a convolution.
    first = first.reshape(*first.shape, *(1,) * (second.dim() - first.dim()))
    return fit_to(torch.kron(first, second.contiguous()) * _scale(tensors), shape)


def _factor(tensors: Tensors, number: str, shape: Shape) -> Tensor:
    import torch

    full = tensors.get(f"lokr_w{number}")
    if full is not None:
        return full
    a, b, core = (tensors.get(name) for name in (f"lokr_w{number}_a", f"lokr_w{number}_b", f"lokr_t{number}"))
    if a is None or b is None:
        raise IncompleteTensors(f"lokr_w{number}, or lokr_w{number}_a and lokr_w{number}_b, is missing")
    if core is None:
        # For a convolution, b has the kernel in its columns or as axes of its own.
        return product(a, b.flatten(1), shape).reshape(a.shape[0], *b.shape[1:])
    check_size(a.shape[1] * b.shape[1] * core[0, 0].numel(), shape)
    return torch.einsum("i j ..., i p, j r -> p r ...", core, a, b)


def _scale(tensors: Tensors) -> float:
    """Return alpha / rank; 1 if both factors are stored in full, because there is no rank then and alpha is ignored."""
    rank = next((tensors[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors), None)
    alpha = tensors.get("alpha")
    return 1.0 if rank is None or alpha is None else float(alpha.flatten()[0]) / rank


KIND = Kind(
    title="LoKr",
    identifying_suffixes=("lokr_w1", "lokr_w1_a"),
    other_suffixes=("lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t1", "lokr_t2"),
    delta_weight=_delta_weight,
)
