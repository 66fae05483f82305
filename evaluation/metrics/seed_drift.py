"""For comparison: drift measured by what another seed changes."""

from typing import ClassVar

import numpy as np

from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats, Values, distances
from evaluation.protocol import Stratum

_NOTHING = 1e-6


class SeedDrift(Metric):
    """Distance to the base's image of the same prompt and seed ÷ mean distance between the base's images of its seeds.

    It informs and does not guard: where an extractor hardly sees a difference between seeds, as the miniature's, it is a ratio
    of rounding errors.
    """

    name: ClassVar[str] = "seed_drift"
    title: ClassVar[str] = "drift, in seeds"
    meaning: ClassVar[str] = (
        "The same distance as a multiple of the distance between the base's images of one prompt's different seeds. Large "
        "where the extractor hardly sees what a seed changes."
    )
    strata: ClassVar[tuple[Stratum, ...]] = ("control",)

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        base = cell.base.features
        count = len(base)
        if count < 2:
            return None
        between = float((1 - base @ base.T).sum() / (count * (count - 1)))
        if between < _NOTHING:
            return None
        return np.array([distances(cell.images.features, base).mean() / between])


METRIC = SeedDrift()
