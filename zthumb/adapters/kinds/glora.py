"""GLoRA (arXiv 2306.07967): the change is W·A + B; each of A and B is a product of two factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, check_size, fit_to, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    import torch

    assert base is not None
    input_change, added = (_product(tensors, letter, rows, shape) for letter, rows in (("a", shape[1]), ("b", shape[0])))
    rank = min(tensors["a1.weight"].flatten(1).shape)
    if "bm.weight" in tensors:
        first, second = (tensors[name].flatten(1) for name in ("b1.weight", "b2.weight"))
        check_size(first.shape[0] * second.numel() // second.shape[0] * tensors["bm.weight"][0, 0].numel(), shape)
        added = torch.einsum("m n ..., i m, n j -> i j ...", tensors["bm.weight"], first, second)
    changed = torch.einsum("o i ..., i j -> o j ...", base, input_change)
    return (changed + fit_to(added, shape)) * scale_of(tensors, rank)


def _product(tensors: Tensors, letter: str, rows: int, shape: Shape) -> Tensor:
    """Return the product, with ``rows`` rows, of both factors; their order differs between versions of LyCORIS."""
    first, second = (tensors[f"{letter}{number}.weight"].flatten(1) for number in (1, 2))
    is_in_order = first.shape[0] == rows and first.shape[1] == second.shape[0]
    return product(first, second, shape) if is_in_order else product(second, first, shape)


KIND = Kind(
    title="GLoRA",
    identifying_suffixes=("a1.weight",),
    other_suffixes=("a2.weight", "b1.weight", "b2.weight", "bm.weight"),
    delta_weight=_delta_weight,
    needs_base=True,
)
