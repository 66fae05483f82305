"""What is true of one way to factorize a change of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
"""The tensors of one module by what their names end with: ``hada_w1_a``, ``alpha`` …, float32."""

Shape = tuple[int, ...]


class NotWhole(Exception):
    """The tensors alone do not tell the change, whatever the base."""


@dataclass(frozen=True)
class Kind:
    """One factorization.

    ``title`` is for people. A module is of this kind if it has a tensor whose name ends with one of ``marks``; ``others`` may be
    beside it. ``weight`` makes what is added to a module's weight, of its ``Shape``, from the tensors and the base's own weight,
    which is None where not ``needs_base``. Tensors that do not fit raise ``ValueError`` or what torch raises, those that tell no
    change ``NotWhole``, or ``KeyError`` of what is missing.
    """

    title: str
    marks: tuple[str, ...]
    others: tuple[str, ...]
    weight: Callable[[Tensors, Shape, Tensor | None], Tensor | None]
    needs_base: bool = False
    ready: Callable[[Tensors], Tensors] | None = None
    """Makes once what ``weight`` takes, where that would be much to make with every use."""

    layer: Callable[[Tensors, Shape, Tensor], tuple[Tensor, Tensor]] | None = None
    """For a kind that is a plain LoRA once the base is known: its factors (out, rank) and (rank, in), read as such."""


def scale_of(tensors: Tensors, rank: int) -> float:
    """Alpha ÷ rank; one without an alpha, which then stands for the rank."""
    alpha = tensors.get("alpha")
    return 1.0 if alpha is None else float(alpha.flatten()[0]) / rank


def product(one: Tensor, other: Tensor, shape: Shape) -> Tensor:
    """A product of factors; ``ValueError`` where it would be larger than any weight with an axis of ``shape``, unmade."""
    check_size(one.shape[0] * (other.numel() // max(1, other.shape[0])), shape)
    return one @ other


def check_size(count: int, shape: Shape) -> None:
    """Refuse, by ``ValueError``, to make ``count`` numbers for a weight of ``shape`` that has far fewer."""
    if count > max(_size(shape), shape[0] ** 2, (_size(shape) // shape[0]) ** 2):
        raise ValueError(f"a change of {count} numbers for a weight of {shape}")


def fitted(change: Tensor, shape: Shape) -> Tensor:
    """A change in the module's own shape; ``ValueError`` where it has not as many numbers."""
    if change.numel() != _size(shape):
        raise ValueError(f"a change of {tuple(change.shape)} for a weight of {shape}")
    return change.reshape(shape)


def _size(shape: Shape) -> int:
    size = 1
    for each in shape:
        size *= each
    return size
