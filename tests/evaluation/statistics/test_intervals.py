"""Intervals and tests against scipy and by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.statistics.intervals import cluster_t, holm, sign_flip

VALUES = [0.1, 0.3, -0.05, 0.2, 0.15, 0.4, 0.02, 0.11]


def test_the_interval_is_that_of_scipys_t_test() -> None:
    interval = cluster_t(VALUES)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((np.mean(VALUES), expected.low, expected.high))
    assert interval.standard_error == pytest.approx(stats.sem(VALUES))
    assert interval.prompts == 8


def test_one_prompt_has_a_mean_and_no_interval() -> None:
    interval = cluster_t([0.5])
    assert (interval.mean, interval.low, interval.high, interval.standard_error) == (0.5, None, None, 0.0)


@pytest.mark.parametrize(("prompts", "seeds"), [(8, 8), (12, 4), (20, 4)])
def test_95_percent_intervals_over_prompts_contain_the_true_mean_as_often_and_intervals_over_images_do_not(
    prompts: int, seeds: int
) -> None:
    rounds, rng = 2000, np.random.default_rng(7)
    # Images of one prompt are alike: the prompt changes them more than the seed does.
    values = rng.normal(0, 1, (rounds, prompts, 1)) + rng.normal(0, 0.7, (rounds, prompts, seeds))

    def coverage(samples: np.ndarray) -> float:
        intervals = [cluster_t(sample) for sample in samples]
        return sum(interval.low <= 0 <= interval.high for interval in intervals) / rounds  # type: ignore[operator]

    error = 3 * np.sqrt(0.95 * 0.05 / rounds)
    assert abs(coverage(values.mean(axis=2)) - 0.95) < error
    assert coverage(values.reshape(rounds, -1)) < 0.85


def test_the_p_value_of_the_sign_flip_test_is_exact() -> None:
    means = [np.mean(np.array(signs) * VALUES) for signs in itertools.product((1, -1), repeat=len(VALUES))]
    assert sign_flip(VALUES) == pytest.approx(sum(mean >= np.mean(VALUES) - 1e-12 for mean in means) / len(means))


@pytest.mark.parametrize("prompts", [4, 7, 8])
def test_the_smallest_possible_p_value_halves_with_every_prompt(prompts: int) -> None:
    assert sign_flip(np.linspace(1, 2, prompts)) == pytest.approx(1 / 2**prompts)


def test_without_a_gain_at_most_five_percent_of_p_values_are_below_five_percent() -> None:
    rng = np.random.default_rng(3)
    p_values = [sign_flip(rng.standard_t(4, 8)) for _ in range(600)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_holm_gives_the_textbook_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_keeps_their_order_and_stays_at_or_below_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)
