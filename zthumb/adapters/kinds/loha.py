"""LoHa (arXiv 2108.06098, as LyCORIS writes it): the elementwise product of two products, each with a Tucker core or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, NotWhole, Shape, Tensors, check_size, fitted, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    first, second = (_product(tensors, number, shape) for number in ("1", "2"))
    return fitted(first * second * scale_of(tensors, tensors["hada_w1_b"].shape[0]), shape)


def _product(tensors: Tensors, number: str, shape: Shape) -> Tensor:
    import torch

    one, other, core = (tensors.get(name) for name in (f"hada_w{number}_a", f"hada_w{number}_b", f"hada_t{number}"))
    if one is None or other is None:
        raise NotWhole(f"hada_w{number}_a and hada_w{number}_b belong together")
    if core is None:
        return product(one, other, shape)
    check_size(one.shape[1] * other.shape[1] * core[0, 0].numel(), shape)
    # The core is (rank, rank, kernel …), the factors (rank, out) and (rank, in).
    return torch.einsum("i j ..., j r, i p -> p r ...", core, other, one)


KIND = Kind(
    title="LoHa",
    marks=("hada_w1_a",),
    others=("hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    weight=_weight,
)
