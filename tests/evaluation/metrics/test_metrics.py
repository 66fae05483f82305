"""Every metric against arrays worked out by hand."""

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
from tests.evaluation.image_features import X, Y, Z, cell, known, seen

HALF = (X + Y) / np.sqrt(2)


def test_the_primary_metric_comes_first_and_every_file_is_one() -> None:
    names = [metric.name for metric in metrics.all_metrics()]
    assert names[0] == metrics.PRIMARY == "similarity"
    assert len(names) == len(set(names)) == 9


def test_likeness_is_the_mean_cosine_with_the_held_out_images() -> None:
    found = similarity.METRIC.of(cell(seen(X, HALF), seen(Z, Z)), known(held_out=seen(X, Y)))
    assert found == pytest.approx([0.5, np.sqrt(0.5)])
    assert similarity.METRIC.of(cell(seen(X), seen(Z)), known()) is None


def test_prompt_following_is_the_cosine_with_the_prompts_own_words_and_may_lose_a_fifth_of_its_lead() -> None:
    assert prompt_following.METRIC.of(cell(seen(X, Y, HALF), seen(Y, Y, Y)), known()) == pytest.approx([0, 1, np.sqrt(0.5)])
    assert prompt_following.METRIC.guard(known(lead=0.5)) == Guard(of="change", at_least=-0.1)
    assert prompt_following.METRIC.guard(known(lead=None)) == Guard(of="change", at_least=0)


def test_drift_is_a_share_of_how_far_two_prompts_are_apart() -> None:
    found = drift.METRIC.of(cell(seen(X, HALF), seen(X, X), "control"), known(apart=0.5))
    assert found == pytest.approx([0, (1 - np.sqrt(0.5)) / 0.5])
    assert drift.METRIC.of(cell(seen(X), seen(X), "control"), known(apart=None)) is None


def test_drift_in_seeds_is_a_multiple_of_what_a_seed_changes() -> None:
    found = seed_drift.METRIC.of(cell(seen(Z, Z), seen(X, HALF), "control"), known())
    assert found == pytest.approx([1 / (1 - np.sqrt(0.5))])
    assert seed_drift.METRIC.of(cell(seen(Z, Z), seen(X, X), "control"), known()) is None


def test_the_vendi_score_counts_the_different_ones() -> None:
    assert diversity.vendi(np.array([X, Y, Z])) == pytest.approx(3)
    assert diversity.vendi(np.array([X, X, X])) == pytest.approx(1)
    assert diversity.vendi(np.array([X, X, Y, Y])) == pytest.approx(2)
    assert diversity.vendi(np.array([X])) == pytest.approx(1)


def test_diversity_is_relative_to_what_a_seed_changes_in_what_the_base_knows() -> None:
    assert diversity.METRIC.of(cell(seen(X, X), seen(X, Y)), known(spread=0.5)) == pytest.approx([0])
    assert diversity.METRIC.of(cell(seen(X, Y), seen(X, X)), known(spread=0.5)) == pytest.approx([2])
    assert diversity.METRIC.of(cell(seen(X), seen(X)), known(spread=0.5)) is None
    assert diversity.METRIC.of(cell(seen(X, Y), seen(X, Y)), known(spread=None)) is None


def test_the_memorization_gap_compares_the_nearest_of_both() -> None:
    found = memorization.METRIC.of(cell(seen(X, Y, HALF), seen(Z, Z, Z)), known(held_out=seen(Y), training=seen(X, Z)))
    assert found == pytest.approx([1 - 0, 0 - 1, 0])
    assert memorization.METRIC.of(cell(seen(X), seen(X)), known(held_out=seen(Y))) is None


def test_copies_are_those_whose_fingerprint_is_a_training_images() -> None:
    images, trained = seen(X, X, X, prints=(10, 91, 150)), seen(X, X, prints=(12, 150))
    assert copies.METRIC.of(cell(images, images), known(training=trained)) == pytest.approx([1, 0, 1])


def test_clipped_pixels_are_those_with_a_channel_at_an_end() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert clipping.clipped(image) == 0
    image[0, 0, 1], image[1, 1, 2] = 0, 255
    assert clipping.clipped(image) == 0.5


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
def test_a_guard_holds_the_bound_of_the_interval_and_not_the_mean(
    guard: Guard, low: float | None, high: float | None, passes: bool
) -> None:
    assert guard.passes(low, high) is passes


def test_preference_is_measured_only_where_something_has_learned_what_people_like() -> None:
    images = seen(X, HALF)
    assert preference.METRIC.of(cell(images, images), known()) is None
    rated = replace(images, liked=images.features)
    found = preference.METRIC.of(cell(rated, rated), replace(known(), wishes={"a red z": Y}))
    assert found == pytest.approx([0, np.sqrt(0.5)])
    assert preference.METRIC.guard(known()) is None
