"""A guard: are images overexposed or crushed to black?"""

from typing import ClassVar

from evaluation.arrays import Pixels, Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import STRATA, Stratum

_MAX_INCREASE = 0.05


class Clipping(Metric):
    """Share of pixels with a channel at its lowest or highest value, which adapters that are too strong increase."""

    name: ClassVar[str] = "clipping"
    title: ClassVar[str] = "clipped pixels"
    meaning: ClassVar[str] = (
        "Share of pixels with a channel at 0 or 255. Adapters that are too strong burn images; the share may exceed the base's "
        f"by at most {_MAX_INCREASE:.0%} of all pixels."
    )
    strata: ClassVar[tuple[Stratum, ...]] = STRATA
    failure: ClassVar[str] = "it burns images"

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        return prompt_samples.images.clipped

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAX_INCREASE)


def clipped_share(image: Pixels) -> float:
    """Return the share of the pixels of an image (height, width, 3) that have a channel at 0 or 255."""
    return float(((image == 0) | (image == 255)).any(axis=2).mean())


METRIC = Clipping()
