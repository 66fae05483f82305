"""Intervals and tests against scipy and by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.statistics import cluster_t, holm, sign_flip

FEW = [0.1, 0.3, -0.05, 0.2, 0.15, 0.4, 0.02, 0.11]


def test_the_interval_is_that_of_scipys_t_test() -> None:
    found = cluster_t(FEW)
    told = stats.ttest_1samp(FEW, 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(FEW), told.low, told.high))
    assert found.standard_error == pytest.approx(stats.sem(FEW))
    assert found.prompts == 8


def test_one_prompt_has_a_mean_and_no_interval() -> None:
    found = cluster_t([0.5])
    assert (found.mean, found.low, found.high, found.standard_error) == (0.5, None, None, 0.0)


@pytest.mark.parametrize(("prompts", "seeds"), [(8, 8), (12, 4), (20, 4)])
def test_the_interval_over_prompts_holds_the_truth_as_often_as_it_says_and_one_over_images_does_not(
    prompts: int, seeds: int
) -> None:
    rounds, rng = 2000, np.random.default_rng(7)
    # Images of one prompt are alike: the prompt moves them more than the seed does.
    values = rng.normal(0, 1, (rounds, prompts, 1)) + rng.normal(0, 0.7, (rounds, prompts, seeds))

    def coverage(found: np.ndarray) -> float:
        intervals = [cluster_t(each) for each in found]
        return sum(each.low <= 0 <= each.high for each in intervals) / rounds  # type: ignore[operator]

    error = 3 * np.sqrt(0.95 * 0.05 / rounds)
    assert abs(coverage(values.mean(axis=2)) - 0.95) < error
    assert coverage(values.reshape(rounds, -1)) < 0.85


def test_the_sign_flip_p_is_exact() -> None:
    flips = [np.mean(np.array(signs) * FEW) for signs in itertools.product((1, -1), repeat=len(FEW))]
    assert sign_flip(FEW) == pytest.approx(sum(each >= np.mean(FEW) - 1e-12 for each in flips) / len(flips))


@pytest.mark.parametrize("prompts", [4, 7, 8])
def test_p_cannot_be_below_what_so_many_prompts_can_show(prompts: int) -> None:
    assert sign_flip(np.linspace(1, 2, prompts)) == pytest.approx(1 / 2**prompts)


def test_under_no_gain_p_is_small_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [sign_flip(rng.standard_t(4, 8)) for _ in range(600)]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_holm_is_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_keeps_their_order_and_stays_below_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)
