"""A guard: does an image without the trigger stay as the base generates it?"""

from typing import ClassVar

from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values, distances
from evaluation.protocol import Stratum

_AT_MOST = 0.1


class Drift(Metric):
    """Distance to the base's image of the same prompt and seed, as a share of how far apart images of two prompts are."""

    name: ClassVar[str] = "drift"
    title: ClassVar[str] = "drift without the trigger"
    meaning: ClassVar[str] = (
        "Distance between an image without the trigger and the base's of the same prompt and seed, as a share of the distance "
        "between the base's images of two different prompts: 0 is untouched, 1 is another image altogether."
    )
    strata: ClassVar[tuple[Stratum, ...]] = ("control",)
    failure: ClassVar[str] = "it changes images without the trigger"

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if not known.apart:
            return None
        return distances(cell.images.features, cell.base.features) / known.apart

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="value", at_most=_AT_MOST)


METRIC = Drift()
