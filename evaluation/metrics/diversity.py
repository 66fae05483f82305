"""A guard: do different seeds still give different images?"""

from typing import ClassVar

import numpy as np

from evaluation.arrays import Features, Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum

_MIN_DIVERSITY = 0.2


class Diversity(Metric):
    """How much the seed changes an image with the trigger, relative to how much it changes the base's control images.

    The base's own images with the trigger are no measure: it does not know the trigger word and generates something else with
    every seed.
    """

    name: ClassVar[str] = "diversity"
    title: ClassVar[str] = "diversity over seeds"
    meaning: ClassVar[str] = (
        "Vendi score − 1 of the images of one prompt's seeds, divided by that of the base's control prompts. 0: all images are "
        "equal; 1: as different as the base's images of things that it knows. Below "
        f"{_MIN_DIVERSITY:g} every seed gives nearly the same image."
    )
    failure: ClassVar[str] = "every seed gives nearly the same image"
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        if len(prompt_samples.images) < 2 or not reference_stats.control_diversity:
            return None
        return np.array([(vendi(prompt_samples.images.features) - 1) / reference_stats.control_diversity])

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="value", at_least=_MIN_DIVERSITY)


def vendi(features: Features) -> float:
    """Return the effective number of different rows of ``features`` (n, D), 1 … n (Friedman and Dieng 2022, arXiv 2210.02410)."""
    eigenvalues = np.linalg.eigvalsh(features @ features.T / len(features))
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()))


METRIC = Diversity()
