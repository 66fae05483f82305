"""Guidance: predictions with and without a prompt combined to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598) at ``scale``, which takes a second prediction at each step if ``is_used``.

    ``embedded`` is the guidance scale that a denoiser is told which was distilled to follow it in one prediction
    (arXiv 2210.03142); other denoisers are told nothing.
    """

    scale: float
    embedded: float | None = None
    in_one_pass: ClassVar[bool] = True
    """Whether both predictions are made at once, in a batch twice as large."""

    @property
    def is_used(self) -> bool:
        """Whether predictions without the prompt count."""
        return self.scale > 1

    def combine(self, without: Tensor, with_prompt: Tensor) -> Tensor:
        """Return the guided prediction from those without and with the prompt."""
        return without + self.scale * (with_prompt - without)


@dataclass(frozen=True)
class GuidanceBeyondPrompt(Guidance):
    """Guidance whose scale counts from the prediction with the prompt: s is s + 1 elsewhere, and 0 is none.

    diffusers' pipeline of Z-Image counts so.
    """

    @property
    def is_used(self) -> bool:
        """See ``Guidance``."""
        return self.scale > 0

    def combine(self, without: Tensor, with_prompt: Tensor) -> Tensor:
        """See ``Guidance``."""
        return with_prompt + self.scale * (with_prompt - without)


def compose(without: Tensor, parts: Sequence[tuple[Tensor, float]]) -> Tensor:
    """Return the prediction without a prompt plus the weighted sum of what each part of a prompt adds (arXiv 2206.01714)."""
    prediction, weight = parts[0]
    added = weight * (prediction - without)
    for prediction, weight in parts[1:]:
        added = added + weight * (prediction - without)
    return without + added
