"""Intervals and tests over prompts: the prompt is the unit, and its seeds are averaged first.

Intervals over all images would be far too narrow, because images of one prompt are alike: of nominal 95 % intervals over single
images only 64 … 78 % contain the true mean at 8 to 20 prompts, of intervals over prompts 94 … 96 %. A test checks that.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foundation.config import Strict

CONFIDENCE = 0.95
_MAX_EXACT_PROMPTS = 16
"""Up to this many prompts all patterns of signs are enumerated; for more, as many patterns are drawn at random."""


class Interval(Strict):
    """A mean over ``prompts`` with its 95 % interval; without bounds if there is only one prompt."""

    mean: float
    low: float | None
    high: float | None
    prompts: int

    @property
    def standard_error(self) -> float:
        """The standard error of the mean; 0 for one prompt."""
        return 0.0 if self.high is None else (self.high - self.mean) / _quantile(self.prompts)


def cluster_t(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Return Student's t interval of values (prompts,), one per prompt; ``ValueError`` if there is none."""
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("an interval needs at least one prompt")
    mean, low, high = float(values.mean()), None, None
    if len(values) > 1:
        half_width = _quantile(len(values)) * float(values.std(ddof=1) / np.sqrt(len(values)))
        low, high = mean - half_width, mean + half_width
    return Interval(mean=mean, low=low, high=high, prompts=len(values))


def _quantile(prompts: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, prompts - 1))


def sign_flip(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the p value of the sign-flip test: the probability that differences (prompts,) with random signs have at least
    this mean. Exact up to 16 prompts.

    One-sided: small if the mean is significantly above zero. With n prompts it cannot be below 1 / 2ⁿ: seven are needed for three
    scales.
    """
    values = np.asarray(differences, np.float64)
    test = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**_MAX_EXACT_PROMPTS,
        rng=np.random.default_rng(0),
        axis=-1,
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return ``p_values`` adjusted for multiple tests (Holm 1979), in their order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
