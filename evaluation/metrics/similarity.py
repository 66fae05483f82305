"""The primary metric: how similar an image is to the concept's held-out images."""

from typing import ClassVar

from evaluation.arrays import Values
from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum


class Similarity(Metric):
    """Mean cosine with the held-out images, which were never trained on: similarity to training images would reward copies."""

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "similarity to held-out images"
    meaning: ClassVar[str] = "Mean cosine between an image with the trigger and the concept's held-out images, −1 to 1."
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        if reference_stats.held_out is None:
            return None
        similarity: Values = (prompt_samples.images.features @ reference_stats.held_out.features.T).mean(axis=1)
        return similarity


METRIC = Similarity()
