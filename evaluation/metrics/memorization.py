"""A guard: is an image nearer to a trained one than images of the concept are by nature?"""

from typing import ClassVar

from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum

_MAY_GROW = 0.1


class Memorization(Metric):
    """Cosine with the nearest trained image − with the nearest held-out one."""

    name: ClassVar[str] = "memorization"
    title: ClassVar[str] = "memorization gap"
    meaning: ClassVar[str] = (
        "Cosine of an image with the trigger with the nearest training image minus that with the nearest held-out one. Of "
        "more images the nearest is nearer, for the base too: learned by heart if it grows over the base's by more than "
        f"{_MAY_GROW:g}."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "overfitted: nearer to training images than to held-out ones"

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if known.held_out is None or known.training is None:
            return None
        nearest = [(cell.images.features @ of.features.T).max(axis=1) for of in (known.training, known.held_out)]
        found: Values = nearest[0] - nearest[1]
        return found

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAY_GROW)


METRIC = Memorization()
