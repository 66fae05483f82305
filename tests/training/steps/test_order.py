"""Every image is seen once an epoch, with others of its size as far as that can be."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from training.steps.order import images_of, steps_per_epoch

SIZES = st.lists(st.sampled_from(["square", "wide", "tall"]), min_size=1, max_size=60)


def _epoch(sizes: list[str], batch: int, seed: int = 0, epoch: int = 0) -> list[tuple[int, ...]]:
    length = steps_per_epoch(sizes, batch)
    return [images_of(step, sizes, batch, seed) for step in range(epoch * length, (epoch + 1) * length)]


@given(SIZES, st.integers(1, 9))
def test_an_epoch_shows_every_image_and_fills_up_at_most_one_batch(sizes: list[str], batch: int) -> None:
    batches = _epoch(sizes, batch)

    seen = Counter(place for each in batches for place in each)
    assert set(seen) == set(range(len(sizes)))
    assert {len(each) for each in batches} == {batch}
    assert sum(seen.values()) - len(sizes) < batch


@given(SIZES, st.integers(1, 9))
def test_no_more_batches_are_mixed_than_must_be(sizes: list[str], batch: int) -> None:
    mixed = [each for each in _epoch(sizes, batch) if len({sizes[place] for place in each}) > 1]

    left = sum(count % batch for count in Counter(sizes).values())
    assert len(mixed) <= -(-left // batch)


def test_every_epoch_and_seed_has_an_order_of_its_own() -> None:
    sizes = ["square"] * 24

    orders = {tuple(_epoch(sizes, 4, seed, epoch)) for seed in range(3) for epoch in range(3)}

    assert len(orders) == 9
