"""Distribution metrics against their definitions."""

import numpy as np
import pytest

from evaluation.arrays import Features
from evaluation.features.extractors.base import normalized
from evaluation.statistics.distribution_metrics import compute_set_metrics


def _features(count: int, shift: float, seed: int = 0, width: int = 6) -> Features:
    rng = np.random.default_rng(seed)
    return normalized(rng.normal(0, 1, (count, width)) + shift * np.eye(width)[0])


def test_kid_is_the_unbiased_estimate_with_the_cubic_kernel() -> None:
    generated, real = _features(12, 0, 1), _features(12, 2, 2)

    def kernel(first: Features, second: Features) -> Features:
        return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)

    count = len(generated)
    within = [
        (kernel(features, features).sum() - np.trace(kernel(features, features))) / (count * (count - 1))
        for features in (generated, real)
    ]
    # Every subset contains all images, so that all subsets are equal.
    expected = sum(within) - 2 * kernel(generated, real).mean()
    assert compute_set_metrics(generated, real, None)["kid"] == pytest.approx(expected, abs=1e-6)


def test_kid_is_reproducible_and_larger_for_images_that_are_further_away() -> None:
    real = _features(10, 2, 3)
    near, far = (compute_set_metrics(_features(40, shift, 4), real, None)["kid"] for shift in (2, -2))
    assert near < far
    assert compute_set_metrics(_features(40, 2, 4), real, None)["kid"] == near


def test_copies_of_training_images_increase_mifid() -> None:
    training = _features(60, 1, 5)
    copied = compute_set_metrics(training[:55], None, training)["mifid"]
    fresh = compute_set_metrics(_features(55, 1, 6), None, training)["mifid"]
    assert copied > 2 * fresh


@pytest.mark.parametrize(("held_out", "training"), [(7, 49), (0, 0)])
def test_too_few_images_have_no_distribution_metrics(held_out: int, training: int) -> None:
    references = (_features(count, 0) if count else None for count in (held_out, training))
    assert compute_set_metrics(_features(60, 0), *references) == {}


def test_with_fewer_images_than_dimensions_there_is_no_frechet_distance() -> None:
    assert compute_set_metrics(_features(60, 0, width=128), None, _features(60, 1, width=128)) == {}
