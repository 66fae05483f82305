"""A guard: does a picture without the trigger stay as the base paints it?"""

from typing import ClassVar

from evaluation.metrics.base import Cell, Guard, Known, Metric, Values, distances
from evaluation.protocol import Stratum

_AT_MOST = 0.1


class Drift(Metric):
    """Distance to the base's picture of the same prompt and seed, as a share of how far apart pictures of two prompts are."""

    name: ClassVar[str] = "drift"
    title: ClassVar[str] = "drift without the trigger"
    meaning: ClassVar[str] = (
        "Distance between a picture without the trigger and the base's of the same prompt and seed, as a share of the distance "
        "between the base's pictures of two different prompts: 0 is untouched, 1 is another picture altogether."
    )
    strata: ClassVar[tuple[Stratum, ...]] = ("control",)
    failure: ClassVar[str] = "it changes pictures without the trigger"

    def of(self, cell: Cell, known: Known) -> Values | None:
        if not known.apart:
            return None
        return distances(cell.pictures.features, cell.base.features) / known.apart

    def guard(self, known: Known) -> Guard:
        return Guard(of="value", at_most=_AT_MOST)


METRIC = Drift()
