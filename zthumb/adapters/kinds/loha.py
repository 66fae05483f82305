"""LoHa (arXiv 2108.06098, as in LyCORIS): the elementwise product of two matrix products, each with or without a Tucker core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import IncompleteTensors, Kind, Shape, Tensors, check_size, fit_to, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    first, second = (_product(tensors, number, shape) for number in ("1", "2"))
    return fit_to(first * second * scale_of(tensors, tensors["hada_w1_b"].shape[0]), shape)


def _product(tensors: Tensors, number: str, shape: Shape) -> Tensor:
    import torch

    a, b, core = (tensors.get(name) for name in (f"hada_w{number}_a", f"hada_w{number}_b", f"hada_t{number}"))
    if a is None or b is None:
        raise IncompleteTensors(f"hada_w{number}_a and hada_w{number}_b are both needed")
    if core is None:
        return product(a, b, shape)
    check_size(a.shape[1] * b.shape[1] * core[0, 0].numel(), shape)
    # The core is (rank, rank, kernel …), the factors (rank, out) and (rank, in).
    return torch.einsum("i j ..., j r, i p -> p r ...", core, b, a)


KIND = Kind(
    title="LoHa",
    identifying_suffixes=("hada_w1_a",),
    other_suffixes=("hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    delta_weight=_delta_weight,
)
