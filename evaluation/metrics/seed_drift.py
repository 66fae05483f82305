"""For comparison: drift relative to how much another seed changes an image."""

from typing import ClassVar

import numpy as np

from evaluation.arrays import Values
from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats, cosine_distances
from evaluation.protocol.plan import Stratum

_MIN_DISTANCE = 1e-6


class SeedDrift(Metric):
    """Distance to the base's image of the same prompt and seed ÷ mean distance between the base's images of different seeds.

    It informs and does not guard: if an extractor hardly distinguishes seeds, like the miniature's, it is a ratio of rounding
    errors.
    """

    name: ClassVar[str] = "seed_drift"
    title: ClassVar[str] = "drift relative to seeds"
    meaning: ClassVar[str] = (
        "The distance of the drift as a multiple of the distance between the base's images of one prompt's different seeds. It "
        "is large if the extractor hardly distinguishes seeds. It only informs."
    )
    strata: ClassVar[tuple[Stratum, ...]] = ("control",)

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        base = prompt_samples.base.features
        count = len(base)
        if count < 2:
            return None
        seed_distance = float((1 - base @ base.T).sum() / (count * (count - 1)))
        if seed_distance < _MIN_DISTANCE:
            return None
        return np.array([cosine_distances(prompt_samples.images.features, base).mean() / seed_distance])


METRIC = SeedDrift()
