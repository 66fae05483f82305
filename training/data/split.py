"""Choose the held-out images: never trained on, they show how the adapter generalizes beyond its training images."""

from collections.abc import Sequence


def choose_holdout(groups: Sequence[Sequence[int]], hashes: Sequence[str], fraction: float) -> frozenset[int]:
    """Return the indices of the held-out images: about a ``fraction`` of all, at least one of three or more.

    ``groups`` are the images' indices, duplicates in one group: a group is held out as a whole or not at all, so that no held-out
    image has a duplicate among the trained ones. ``hashes`` are those of the images' contents and decide which groups are chosen:
    another name or order of the same images changes nothing. Nothing is held out of fewer than three images, nor if all are
    duplicates of one.
    """
    count = len(hashes)
    if fraction == 0 or count < 3 or len(groups) < 2:
        return frozenset()
    holdout_count = max(1, round(fraction * count))
    # Groups that are larger than the whole holdout set come last.
    ordered = sorted(groups, key=lambda group: (len(group) > holdout_count, min(hashes[index] for index in group)))
    chosen = list(ordered[0]) if len(ordered[0]) < count else []
    for group in ordered[1:-1]:
        if len(chosen) + len(group) <= holdout_count:
            chosen += group
    return frozenset(chosen)
