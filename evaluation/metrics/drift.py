"""A guard: does an image without the trigger stay as the base generates it?"""

from typing import ClassVar

from evaluation.arrays import Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, cosine_distances
from evaluation.protocol.plan import Stratum

_MAX_DRIFT = 0.1


class Drift(Metric):
    """Distance to the base's image of the same prompt and seed, relative to the distance between images of two prompts."""

    name: ClassVar[str] = "drift"
    title: ClassVar[str] = "drift without the trigger"
    meaning: ClassVar[str] = (
        "Distance between an image without the trigger and the base's of the same prompt and seed, divided by the distance "
        "between the base's images of two different prompts. 0: unchanged; 1: a completely different image."
    )
    strata: ClassVar[tuple[Stratum, ...]] = ("control",)
    failure: ClassVar[str] = "it changes images without the trigger"

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        if not reference_stats.control_distance:
            return None
        distances = cosine_distances(prompt_samples.images.features, prompt_samples.base.features)
        return distances / reference_stats.control_distance

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="value", at_most=_MAX_DRIFT)


METRIC = Drift()
