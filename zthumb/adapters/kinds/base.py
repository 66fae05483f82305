"""The interface of one way to factorize a change of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
"""The tensors of one module by the suffix of their names: ``hada_w1_a``, ``alpha`` …, float32."""

Shape = tuple[int, ...]


class IncompleteTensors(Exception):
    """The tensors do not determine the change, for any base."""


@dataclass(frozen=True)
class Kind:
    """One factorization.

    ``title`` is for people. A module is of this kind if it has a tensor whose name ends with one of ``identifying_suffixes``;
    tensors with ``other_suffixes`` may accompany it. ``delta_weight`` computes what is added to a module's weight, in its
    ``Shape``, from the tensors and the base's own weight, which is None unless ``needs_base``. It raises ``ValueError``, or what
    torch raises, for tensors that do not fit, and ``IncompleteTensors``, or ``KeyError`` with the missing name, for tensors that
    do not determine the change.
    """

    title: str
    identifying_suffixes: tuple[str, ...]
    other_suffixes: tuple[str, ...]
    delta_weight: Callable[[Tensors, Shape, Tensor | None], Tensor | None]
    needs_base: bool = False
    prepare: Callable[[Tensors], Tensors] | None = None
    """Computes the tensors for ``delta_weight`` once, where computing them in every use would be slow."""

    to_lora: Callable[[Tensors, Shape, Tensor], tuple[Tensor, Tensor]] | None = None
    """For a kind that is a plain LoRA once the base is known: returns its factors (out, rank) and (rank, in), used as such."""


def scale_of(tensors: Tensors, rank: int) -> float:
    """Return alpha / rank; 1 without an alpha, which then defaults to the rank."""
    alpha = tensors.get("alpha")
    return 1.0 if alpha is None else float(alpha.flatten()[0]) / rank


def product(left: Tensor, right: Tensor, shape: Shape) -> Tensor:
    """Return ``left @ right``; raise ``ValueError`` before computing one larger than any weight with an axis of ``shape``."""
    check_size(left.shape[0] * (right.numel() // max(1, right.shape[0])), shape)
    return left @ right


def check_size(count: int, shape: Shape) -> None:
    """Raise ``ValueError`` if ``count`` numbers are far more than a change for a weight of ``shape`` can need."""
    if count > max(_size(shape), shape[0] ** 2, (_size(shape) // shape[0]) ** 2):
        raise ValueError(f"a change of {count} numbers for a weight of {shape}")


def fit_to(change: Tensor, shape: Shape) -> Tensor:
    """Return a change in the module's ``shape``; raise ``ValueError`` if the number of elements differs."""
    if change.numel() != _size(shape):
        raise ValueError(f"a change of {tuple(change.shape)} for a weight of {shape}")
    return change.reshape(shape)


def _size(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
