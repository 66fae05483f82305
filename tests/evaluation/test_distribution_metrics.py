"""Figures of whole sets, against what they must be by their definitions."""

import numpy as np
import pytest

from evaluation.distribution_metrics import set_figures
from evaluation.extractors.base import Features, normalized


def _features(count: int, shift: float, seed: int = 0, width: int = 6) -> Features:
    rng = np.random.default_rng(seed)
    return normalized(rng.normal(0, 1, (count, width)) + shift * np.eye(width)[0])


def test_kid_is_the_unbiased_estimate_with_the_cubic_kernel() -> None:
    made, real = _features(12, 0, 1), _features(12, 2, 2)

    def kernel(one: Features, other: Features) -> Features:
        return np.asarray((one @ other.T / one.shape[1] + 1) ** 3)

    count = len(made)
    own = [(kernel(each, each).sum() - np.trace(kernel(each, each))) / (count * (count - 1)) for each in (made, real)]
    # Every draw takes all of them, so that all draws are one.
    assert set_figures(made, real, None)["kid"] == pytest.approx(sum(own) - 2 * kernel(made, real).mean(), abs=1e-6)


def test_kid_is_the_same_every_time_and_larger_for_what_is_further_away() -> None:
    real = _features(10, 2, 3)
    near, far = (set_figures(_features(40, shift, 4), real, None)["kid"] for shift in (2, -2))
    assert near < far
    assert set_figures(_features(40, 2, 4), real, None)["kid"] == near


def test_copies_of_training_images_raise_what_would_otherwise_be_a_small_distance() -> None:
    training = _features(60, 1, 5)
    copied = set_figures(training[:55], None, training)["mifid"]
    fresh = set_figures(_features(55, 1, 6), None, training)["mifid"]
    assert copied > 2 * fresh


@pytest.mark.parametrize(("held_out", "training"), [(7, 49), (0, 0)])
def test_too_few_images_have_no_such_figures(held_out: int, training: int) -> None:
    told = (_features(count, 0) if count else None for count in (held_out, training))
    assert set_figures(_features(60, 0), *told) == {}


def test_with_fewer_images_than_dimensions_there_is_no_frechet_distance() -> None:
    assert set_figures(_features(60, 0, width=128), None, _features(60, 1, width=128)) == {}
