"""A guard: is a picture nearer to a trained one than pictures of the concept are by nature?"""

from math import comb
from typing import ClassVar, Literal

import numpy as np

from evaluation.metrics.base import Cell, Guard, Known, Metric, Values
from evaluation.protocol import WITH_TRIGGER, Stratum

_MAY_GROW = 0.1


class Memorization(Metric):
    """Cosine with the nearest trained picture − with the nearest held-out one."""

    name: ClassVar[str] = "memorization"
    title: ClassVar[str] = "memorization gap"
    meaning: ClassVar[str] = (
        "Cosine of a picture with the trigger with the nearest training picture minus that with the nearest held-out one, both "
        f"among equally many. Learned by heart if it grows by more than {_MAY_GROW:g} over the base's."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "overfitted: nearer to training pictures than to held-out ones"
    is_better: ClassVar[Literal["higher", "lower"]] = "lower"

    def of(self, cell: Cell, known: Known) -> Values | None:
        if known.held_out is None or known.training is None:
            return None
        among = min(len(known.held_out), len(known.training))
        nearest = [expected_maximum(cell.pictures.features @ of.features.T, among) for of in (known.training, known.held_out)]
        return nearest[0] - nearest[1]

    def guard(self, known: Known) -> Guard | None:
        return Guard(of="change", at_most=_MAY_GROW) if known.held_out and known.training else None


def expected_maximum(values: Values, among: int) -> Values:
    """The mean of the largest of ``among`` values drawn without replacement from each row of ``values`` (n, count).

    The nearest of many is nearer than the nearest of few whatever they show; this makes both equally many.
    """
    ordered = np.sort(values, axis=1)
    count = ordered.shape[1]
    weights = np.array([comb(place, among - 1) / comb(count, among) for place in range(count)])
    found: Values = ordered @ weights
    return found


METRIC = Memorization()
