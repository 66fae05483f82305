"""A guard: do different seeds still give different pictures?"""

from typing import ClassVar, Literal

import numpy as np

from evaluation.extractors.base import Features
from evaluation.metrics.base import Cell, Guard, Known, Metric, Values
from evaluation.protocol import WITH_TRIGGER, Stratum

_AT_LEAST = 0.6


class Diversity(Metric):
    """Vendi score of the seeds of one prompt, relative to the base's."""

    name: ClassVar[str] = "diversity"
    title: ClassVar[str] = "diversity over seeds"
    meaning: ClassVar[str] = (
        "Vendi score of the pictures of one prompt's seeds, the effective number of different ones, ÷ that of the base's. An "
        f"adapter that shows one thing makes it fall somewhat; below {_AT_LEAST:g} every seed is the same picture."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "every seed gives nearly the same picture"
    is_better: ClassVar[Literal["higher", "lower"]] = "higher"

    def of(self, cell: Cell, known: Known) -> Values | None:
        if len(cell.pictures) < 2:
            return None
        return np.array([vendi(cell.pictures.features) / vendi(cell.base.features)])

    def guard(self, known: Known) -> Guard | None:
        return Guard(of="value", at_least=_AT_LEAST)


def vendi(features: Features) -> float:
    """The effective number of different rows of ``features`` (n, D), 1 … n (Friedman and Dieng 2022, arXiv 2210.02410)."""
    shares = np.linalg.eigvalsh(features @ features.T / len(features))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


METRIC = Diversity()
