"""A guard: is an image a version of a trained one?"""

from typing import ClassVar

import numpy as np

from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum
from foundation.fingerprint import Fingerprints

_MAY_GROW = 0.2


class Copies(Metric):
    """Share of images whose perceptual hash takes them for a version of a training image."""

    name: ClassVar[str] = "copies"
    title: ClassVar[str] = "copies of training images"
    meaning: ClassVar[str] = (
        "Share of images with the trigger that a perceptual hash takes for a version of a training image, scaled, "
        f"compressed or brightened. At most {_MAY_GROW:.0%} of them more than of the base's."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "overfitted: it generates training images again"

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if known.training is None:
            return None
        trained = Fingerprints.of(known.training.fingerprints)
        return np.array([float(trained.versions_of(one).any()) for one in cell.images.fingerprints])

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAY_GROW)


METRIC = Copies()
