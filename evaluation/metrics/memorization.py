"""A guard: is an image closer to a training image than images of the concept naturally are?"""

from typing import ClassVar

from evaluation.arrays import Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum

_MAX_INCREASE = 0.1


class Memorization(Metric):
    """Cosine with the nearest training image − cosine with the nearest held-out image."""

    name: ClassVar[str] = "memorization"
    title: ClassVar[str] = "memorization gap"
    meaning: ClassVar[str] = (
        "Cosine of an image with the trigger with the nearest training image minus that with the nearest held-out image. In a "
        "larger set the nearest image is nearer, for the base's images too: only a gap that exceeds the base's by more than "
        f"{_MAX_INCREASE:g} counts as memorization."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "overfitted: its images are closer to training images than to held-out ones"

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        held_out, training = reference_stats.held_out, reference_stats.training
        if held_out is None or training is None:
            return None
        features = prompt_samples.images.features
        nearest_training, nearest_held_out = ((features @ images.features.T).max(axis=1) for images in (training, held_out))
        gap: Values = nearest_training - nearest_held_out
        return gap

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAX_INCREASE)


METRIC = Memorization()
