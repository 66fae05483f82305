"""Held-out images share nothing with trained ones, whatever the size and order of the set."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from training.data.split import held_out


def _hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def _alone(count: int) -> list[tuple[int, ...]]:
    return [(place,) for place in range(count)]


@given(st.integers(3, 300), st.floats(0.01, 0.5))
def test_from_three_images_up_some_are_held_out_and_most_are_not(count: int, share: float) -> None:
    out = held_out(_alone(count), _hashes(count), share)

    assert len(out) == max(1, round(share * count))
    assert len(out) < count


@given(st.lists(st.integers(1, 5), min_size=2, max_size=40), st.floats(0.01, 0.5))
def test_versions_of_one_image_are_on_the_same_side(lengths: list[int], share: float) -> None:
    groups, start = [], 0
    for length in lengths:
        groups.append(tuple(range(start, start + length)))
        start += length

    out = held_out(groups, _hashes(start), share)

    assert all(set(group) <= out or not set(group) & out for group in groups)
    assert len(out) < start
    assert (start >= 3) == bool(out)


@given(st.permutations(range(20)))
def test_another_order_of_the_same_images_holds_the_same_ones_out(order: list[int]) -> None:
    hashes = _hashes(20)

    out = held_out(_alone(20), [hashes[place] for place in order], 0.2)

    assert {hashes[order[place]] for place in out} == {hashes[place] for place in held_out(_alone(20), hashes, 0.2)}


def test_too_few_images_or_versions_of_a_single_one_leave_nothing_to_hold_out() -> None:
    assert held_out(_alone(2), _hashes(2), 0.5) == frozenset()
    assert held_out([(0, 1, 2, 3)], _hashes(4), 0.5) == frozenset()
    assert held_out(_alone(9), _hashes(9), 0) == frozenset()
