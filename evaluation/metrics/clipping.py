"""A guard: are images burnt?"""

from typing import ClassVar

from evaluation.extractors.base import Pixels
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import STRATA, Stratum

_MAY_GROW = 0.05


class Clipping(Metric):
    """Share of pixels at the end of what a channel can hold, as adapters that are too strong make them."""

    name: ClassVar[str] = "clipping"
    title: ClassVar[str] = "clipped pixels"
    meaning: ClassVar[str] = (
        "Share of pixels with a channel at 0 or 255. Adapters that are too strong burn images; at most "
        f"{_MAY_GROW:.0%} of all pixels more than in the base's."
    )
    strata: ClassVar[tuple[Stratum, ...]] = STRATA
    failure: ClassVar[str] = "it burns images"

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        return cell.images.clipped

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAY_GROW)


def clipped(image: Pixels) -> float:
    """Share of the pixels of an image (h, w, 3) that have a channel at 0 or 255."""
    return float(((image == 0) | (image == 255)).any(axis=2).mean())


METRIC = Clipping()
