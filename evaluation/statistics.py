"""Intervals and tests over prompts: the prompt is the unit, its seeds are averaged first.

Intervals over all images would be far too narrow, for images of one prompt are alike: of nominal 95 % intervals over single
images 64 … 78 % hold the truth at 8 to 20 prompts, of these 94 … 96 %. A test holds that.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foundation.config import Strict

CONFIDENCE = 0.95
_EXACT_UP_TO = 16
"""Prompts up to which every pattern of signs is looked at; beyond it so many are drawn."""


class Interval(Strict):
    """A mean over ``prompts`` with its 95 % interval; no bounds where there is one prompt only."""

    mean: float
    low: float | None
    high: float | None
    prompts: int

    @property
    def standard_error(self) -> float:
        """Of the mean; 0 for one prompt."""
        return 0.0 if self.high is None else (self.high - self.mean) / _quantile(self.prompts)


def cluster_t(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Student's t interval of values (prompts,), one a prompt; ``ValueError`` when there is none."""
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("an interval needs at least one prompt")
    mean, low, high = float(values.mean()), None, None
    if len(values) > 1:
        half = _quantile(len(values)) * float(values.std(ddof=1) / np.sqrt(len(values)))
        low, high = mean - half, mean + half
    return Interval(mean=mean, low=low, high=high, prompts=len(values))


def _quantile(prompts: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, prompts - 1))


def sign_flip(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """How likely differences (prompts,) of such a mean or a higher one are if their signs fell by chance: exact up to 16 prompts.

    One-sided: small when the mean is surely above zero. With n prompts it cannot be below 1 / 2ⁿ: seven are needed for three
    scales.
    """
    values = np.asarray(differences, np.float64)
    found = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**_EXACT_UP_TO,
        rng=np.random.default_rng(0),
        axis=-1,
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """``p_values`` adjusted for there being several (Holm 1979), in their order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted
