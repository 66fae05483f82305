"""GLoRA (arXiv 2306.07967): a product that changes the inputs, so to say, and one that is added: W·A + B."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, check_size, fitted, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    import torch

    assert base is not None
    inner, added = (_product(tensors, letter, rows, shape) for letter, rows in (("a", shape[1]), ("b", shape[0])))
    rank = min(tensors["a1.weight"].flatten(1).shape)
    if "bm.weight" in tensors:
        one, other = (tensors[name].flatten(1) for name in ("b1.weight", "b2.weight"))
        check_size(one.shape[0] * other.numel() // other.shape[0] * tensors["bm.weight"][0, 0].numel(), shape)
        added = torch.einsum("m n ..., i m, n j -> i j ...", tensors["bm.weight"], one, other)
    changed = torch.einsum("o i ..., i j -> o j ...", base, inner)
    return (changed + fitted(added, shape)) * scale_of(tensors, rank)


def _product(tensors: Tensors, letter: str, rows: int, shape: Shape) -> Tensor:
    """The product of both factors with ``rows`` rows; which of the two comes first has changed in LyCORIS."""
    one, other = (tensors[f"{letter}{number}.weight"].flatten(1) for number in (1, 2))
    is_first = one.shape[0] == rows and one.shape[1] == other.shape[0]
    return product(one, other, shape) if is_first else product(other, one, shape)


KIND = Kind(
    title="GLoRA",
    marks=("a1.weight",),
    others=("a2.weight", "b1.weight", "b2.weight", "bm.weight"),
    weight=_weight,
    needs_base=True,
)
