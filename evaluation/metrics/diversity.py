"""A guard: do different seeds still give different images?"""

from typing import ClassVar

import numpy as np

from evaluation.extractors.base import Features
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum

_AT_LEAST = 0.2


class Diversity(Metric):
    """What a seed changes in an image with the trigger, relative to what it changes in the base's images of what it knows.

    The base's own images with the trigger are no measure: it does not know the word and generates something else every time.
    """

    name: ClassVar[str] = "diversity"
    title: ClassVar[str] = "diversity over seeds"
    meaning: ClassVar[str] = (
        "Vendi score − 1 of the images of one prompt's seeds, 0 where all are one, ÷ that of the base's control prompts: 1 is "
        f"as different as things that the base knows. Below {_AT_LEAST:g} every seed is nearly the same image."
    )
    failure: ClassVar[str] = "every seed gives nearly the same image"
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if len(cell.images) < 2 or not known.spread:
            return None
        return np.array([(vendi(cell.images.features) - 1) / known.spread])

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="value", at_least=_AT_LEAST)


def vendi(features: Features) -> float:
    """The effective number of different rows of ``features`` (n, D), 1 … n (Friedman and Dieng 2022, arXiv 2210.02410)."""
    shares = np.linalg.eigvalsh(features @ features.T / len(features))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


METRIC = Diversity()
