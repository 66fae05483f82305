"""Every metric against values calculated by hand."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation import metrics
from evaluation.metrics import (
    clipping,
    copies,
    diversity,
    drift,
    memorization,
    preference,
    prompt_following,
    seed_drift,
    similarity,
)
from evaluation.metrics.base import Guard
from tests.evaluation.image_features import X, Y, Z, features, prompt_samples, reference_stats

HALF = (X + Y) / np.sqrt(2)


def test_the_primary_metric_comes_first_and_every_module_is_a_metric() -> None:
    names = [metric.name for metric in metrics.all_metrics()]
    assert names[0] == metrics.PRIMARY == "similarity"
    assert len(names) == len(set(names)) == 9


def test_similarity_is_the_mean_cosine_with_the_held_out_images() -> None:
    samples = prompt_samples(features(X, HALF), features(Z, Z))
    values = similarity.METRIC.compute(samples, reference_stats(held_out=features(X, Y)))
    assert values == pytest.approx([0.5, np.sqrt(0.5)])
    assert similarity.METRIC.compute(prompt_samples(features(X), features(Z)), reference_stats()) is None


def test_prompt_following_is_the_cosine_with_the_prompt_and_may_lose_a_fifth_of_its_margin() -> None:
    values = prompt_following.METRIC.compute(prompt_samples(features(X, Y, HALF), features(Y, Y, Y)), reference_stats())
    assert values == pytest.approx([0, 1, np.sqrt(0.5)])
    assert prompt_following.METRIC.guard(reference_stats(text_margin=0.5)) == Guard(of="change", at_least=-0.1)
    assert prompt_following.METRIC.guard(reference_stats(text_margin=None)) == Guard(of="change", at_least=0)


def test_drift_is_relative_to_the_distance_between_prompts() -> None:
    samples = prompt_samples(features(X, HALF), features(X, X), "control")
    values = drift.METRIC.compute(samples, reference_stats(control_distance=0.5))
    assert values == pytest.approx([0, (1 - np.sqrt(0.5)) / 0.5])
    unchanged = prompt_samples(features(X), features(X), "control")
    assert drift.METRIC.compute(unchanged, reference_stats(control_distance=None)) is None


def test_seed_drift_is_relative_to_the_distance_between_seeds() -> None:
    values = seed_drift.METRIC.compute(prompt_samples(features(Z, Z), features(X, HALF), "control"), reference_stats())
    assert values == pytest.approx([1 / (1 - np.sqrt(0.5))])
    assert seed_drift.METRIC.compute(prompt_samples(features(Z, Z), features(X, X), "control"), reference_stats()) is None


def test_the_vendi_score_counts_different_rows() -> None:
    assert diversity.vendi(np.array([X, Y, Z])) == pytest.approx(3)
    assert diversity.vendi(np.array([X, X, X])) == pytest.approx(1)
    assert diversity.vendi(np.array([X, X, Y, Y])) == pytest.approx(2)
    assert diversity.vendi(np.array([X])) == pytest.approx(1)


def test_diversity_is_relative_to_the_diversity_of_the_control_prompts() -> None:
    equal, different = prompt_samples(features(X, X), features(X, Y)), prompt_samples(features(X, Y), features(X, X))
    assert diversity.METRIC.compute(equal, reference_stats(control_diversity=0.5)) == pytest.approx([0])
    assert diversity.METRIC.compute(different, reference_stats(control_diversity=0.5)) == pytest.approx([2])
    one_seed, two_seeds = prompt_samples(features(X), features(X)), prompt_samples(features(X, Y), features(X, Y))
    assert diversity.METRIC.compute(one_seed, reference_stats(control_diversity=0.5)) is None
    assert diversity.METRIC.compute(two_seeds, reference_stats(control_diversity=None)) is None


def test_the_memorization_gap_compares_the_nearest_training_and_held_out_image() -> None:
    values = memorization.METRIC.compute(
        prompt_samples(features(X, Y, HALF), features(Z, Z, Z)), reference_stats(held_out=features(Y), training=features(X, Z))
    )
    assert values == pytest.approx([1 - 0, 0 - 1, 0])
    assert memorization.METRIC.compute(prompt_samples(features(X), features(X)), reference_stats(held_out=features(Y))) is None


def test_copies_are_the_images_whose_fingerprint_matches_a_training_image() -> None:
    images, training = features(X, X, X, fingerprints=(10, 91, 150)), features(X, X, fingerprints=(12, 150))
    assert copies.METRIC.compute(prompt_samples(images, images), reference_stats(training=training)) == pytest.approx([1, 0, 1])


def test_clipped_pixels_have_a_channel_at_0_or_255() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert clipping.clipped_share(image) == 0
    image[0, 0, 1], image[1, 1, 2] = 0, 255
    assert clipping.clipped_share(image) == 0.5


@pytest.mark.parametrize(
    ("guard", "low", "high", "passes"),
    [
        (Guard(of="value", at_most=0.1), 0.0, 0.09, True),
        (Guard(of="value", at_most=0.1), 0.0, 0.11, False),
        (Guard(of="change", at_least=-0.2), -0.1, 0.5, True),
        (Guard(of="change", at_least=-0.2), -0.3, 0.5, False),
        (Guard(of="change", at_least=-0.2), None, None, False),
    ],
)
def test_a_guard_tests_the_bound_of_the_interval_and_not_the_mean(
    guard: Guard, low: float | None, high: float | None, passes: bool
) -> None:
    assert guard.passes(low, high) is passes


def test_preference_is_measured_only_with_a_preference_extractor() -> None:
    images = features(X, HALF)
    assert preference.METRIC.compute(prompt_samples(images, images), reference_stats()) is None
    rated = replace(images, preference_features=images.features)
    values = preference.METRIC.compute(prompt_samples(rated, rated), replace(reference_stats(), preference_texts={"a red z": Y}))
    assert values == pytest.approx([0, np.sqrt(0.5)])
    assert preference.METRIC.guard(reference_stats()) is None
