"""Guidance: predictions with and without a prompt combined to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from zthumb.diffusion.guidance_schedule import CONSTANT, GuidanceSchedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598) at ``scale``, which takes a second prediction at each step if ``is_used``.

    ``embedded`` is the guidance scale that a denoiser is told which was distilled to follow it in one prediction
    (arXiv 2210.03142); other denoisers are told nothing. Both change from step to step by a schedule of their own.
    """

    scale: float
    embedded: float | None = None
    schedule: GuidanceSchedule = CONSTANT
    embedded_schedule: GuidanceSchedule = CONSTANT
    in_one_pass: ClassVar[bool] = True
    """Whether both predictions are made at once, in a batch twice as large."""
    neutral: ClassVar[float] = 1.0
    """The scale that is no guidance."""

    @property
    def is_used(self) -> bool:
        """Whether predictions without the prompt count."""
        return self.scale > self.neutral

    def at(self, step: int, steps: int) -> Self:
        """Return the guidance at ``step``, from 0, of so many ``steps``; its scales stay as they are."""
        scale = self.neutral + self.schedule.factor(step, steps) * (self.scale - self.neutral)
        embedded = self.embedded
        if embedded is not None:
            # Such denoisers were told a scale of one where nothing was guided.
            embedded = 1 + self.embedded_schedule.factor(step, steps) * (embedded - 1)
        return replace(self, scale=scale, embedded=embedded, schedule=CONSTANT, embedded_schedule=CONSTANT)

    def unguided_steps(self, steps: int) -> int:
        """Return at how many of ``steps`` its schedule takes no second prediction."""
        return sum(not self.at(step, steps).is_used for step in range(steps)) if self.is_used else 0

    def combine(self, without: Tensor, with_prompt: Tensor) -> Tensor:
        """Return the guided prediction from those without and with the prompt."""
        return without + self.scale * (with_prompt - without)


@dataclass(frozen=True)
class GuidanceBeyondPrompt(Guidance):
    """Guidance whose scale counts from the prediction with the prompt: s is s + 1 elsewhere, and 0 is none.

    diffusers' pipeline of Z-Image counts so.
    """

    neutral: ClassVar[float] = 0.0

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
