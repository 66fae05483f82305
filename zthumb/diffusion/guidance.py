"""Guidance: predictions with and without a prompt combined to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def classifier_free(without: Tensor, with_prompt: Tensor, scale: float) -> Tensor:
    """Return the prediction under classifier-free guidance (arXiv 2207.12598)."""
    return without + scale * (with_prompt - without)


def compose(without: Tensor, parts: Sequence[tuple[Tensor, float]]) -> Tensor:
    """Return the prediction without a prompt plus the weighted sum of what each part of a prompt adds (arXiv 2206.01714)."""
    prediction, weight = parts[0]
    added = weight * (prediction - without)
    for prediction, weight in parts[1:]:
        added = added + weight * (prediction - without)
    return without + added
