"""The primary metric: how like the concept's held-out images an image is."""

from typing import ClassVar

from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum


class Similarity(Metric):
    """Mean cosine with the held-out images, which no training has seen: likeness to trained ones would reward copies."""

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "likeness to held-out images"
    meaning: ClassVar[str] = "Mean cosine between an image with the trigger and the concept's held-out images, −1 to 1."
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if known.held_out is None:
            return None
        found: Values = (cell.images.features @ known.held_out.features.T).mean(axis=1)
        return found


METRIC = Similarity()
