"""A guard: is an image a version of a training image?"""

from typing import ClassVar

import numpy as np

from evaluation.arrays import Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum
from foundation.fingerprint import Fingerprints

_MAX_INCREASE = 0.2


class Copies(Metric):
    """Share of images that a perceptual hash recognizes as a version of a training image."""

    name: ClassVar[str] = "copies"
    title: ClassVar[str] = "copies of training images"
    meaning: ClassVar[str] = (
        "Share of images with the trigger that a perceptual hash recognizes as a version of a training image: scaled, compressed "
        f"or brightened. It may exceed the base's share by at most {_MAX_INCREASE:.0%} of the images."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "overfitted: it reproduces training images"

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        if reference_stats.training is None:
            return None
        training = Fingerprints.of(reference_stats.training.fingerprints)
        return np.array([float(training.find_versions(image).any()) for image in prompt_samples.images.fingerprints])

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="change", at_most=_MAX_INCREASE)


METRIC = Copies()
