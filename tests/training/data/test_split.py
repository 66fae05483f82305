"""Held-out images have no duplicates among the trained ones, whatever the size and order of the data set."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from training.data.split import choose_holdout


def _hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def _without_duplicates(count: int) -> list[tuple[int, ...]]:
    return [(index,) for index in range(count)]


@given(st.integers(3, 300), st.floats(0.01, 0.5))
def test_of_three_or_more_images_some_are_held_out_and_most_are_not(count: int, fraction: float) -> None:
    holdout = choose_holdout(_without_duplicates(count), _hashes(count), fraction)

    assert len(holdout) == max(1, round(fraction * count))
    assert len(holdout) < count


@given(st.lists(st.integers(1, 5), min_size=2, max_size=40), st.floats(0.01, 0.5))
def test_duplicates_are_on_the_same_side_of_the_split(lengths: list[int], fraction: float) -> None:
    groups, start = [], 0
    for length in lengths:
        groups.append(tuple(range(start, start + length)))
        start += length

    holdout = choose_holdout(groups, _hashes(start), fraction)

    assert all(set(group) <= holdout or not set(group) & holdout for group in groups)
    assert len(holdout) < start
    assert (start >= 3) == bool(holdout)


@given(st.permutations(range(20)))
def test_another_order_of_the_same_images_holds_out_the_same_ones(order: list[int]) -> None:
    hashes, groups = _hashes(20), _without_duplicates(20)

    holdout = choose_holdout(groups, [hashes[index] for index in order], 0.2)

    assert {hashes[order[index]] for index in holdout} == {hashes[index] for index in choose_holdout(groups, hashes, 0.2)}


def test_nothing_is_held_out_of_too_few_images_or_duplicates_of_a_single_one() -> None:
    assert choose_holdout(_without_duplicates(2), _hashes(2), 0.5) == frozenset()
    assert choose_holdout([(0, 1, 2, 3)], _hashes(4), 0.5) == frozenset()
    assert choose_holdout(_without_duplicates(9), _hashes(9), 0) == frozenset()
