"""In which order images are seen: every one once an epoch, in batches of one size as far as they can be."""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence

from foundation.seeds import derive


def steps_per_epoch(sizes: Sequence[Hashable], batch: int) -> int:
    """How many batches of ``batch_size`` images an epoch has."""
    full = sum(count // batch for count in _counts(sizes))
    left = sum(count % batch for count in _counts(sizes))
    return full + -(-left // batch)


def images_of(step: int, sizes: Sequence[Hashable], batch: int, seed: int) -> tuple[int, ...]:
    """The numbers of the ``batch_size`` images of ``step``, drawn from nothing but the arguments.

    An epoch takes full batches of each size and puts what is left of all sizes into mixed ones. The last of those is filled up
    with images drawn at random, so that every step weighs the same.
    """
    length = steps_per_epoch(sizes, batch)
    return _epoch(sizes, batch, derive(seed, "order", step // length))[step % length]


def _epoch(sizes: Sequence[Hashable], batch: int, seed: int) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    by_size: dict[Hashable, list[int]] = defaultdict(list)
    for place, size in enumerate(sizes):
        by_size[size].append(place)
    batches, left = [], []
    for places in by_size.values():
        rng.shuffle(places)
        full = len(places) // batch * batch
        batches += [tuple(places[start : start + batch]) for start in range(0, full, batch)]
        left += places[full:]
    rng.shuffle(left)
    while len(left) % batch:
        left += rng.sample(range(len(sizes)), min(len(sizes), batch - len(left) % batch))
    batches += [tuple(left[start : start + batch]) for start in range(0, len(left), batch)]
    rng.shuffle(batches)
    return batches


def _counts(sizes: Sequence[Hashable]) -> list[int]:
    return [sizes.count(size) for size in set(sizes)]
