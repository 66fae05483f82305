"""Which images are held out: never trained on, they tell what the adapter has learned beyond its images."""

from collections.abc import Sequence


def held_out(groups: Sequence[Sequence[int]], hashes: Sequence[str], share: float) -> frozenset[int]:
    """The numbers of the images held out: about ``share`` of all, at least one from three images up.

    ``groups`` are the images' numbers, versions of one image together: a group is held out whole or not at all, so that no
    held-out image has a version among the trained ones. ``hashes`` are those of the images' contents, by which the groups are
    drawn: another name or order of the same images changes nothing. Nothing is held out of fewer than three images, nor when
    all are versions of one.
    """
    count = len(hashes)
    if share == 0 or count < 3 or len(groups) < 2:
        return frozenset()
    wanted = max(1, round(share * count))
    # Small groups first where one alone would be more than is wanted.
    drawn = sorted(groups, key=lambda group: (len(group) > wanted, min(hashes[place] for place in group)))
    chosen = list(drawn[0]) if len(drawn[0]) < count else []
    for group in drawn[1:-1]:
        if len(chosen) + len(group) <= wanted:
            chosen += group
    return frozenset(chosen)
