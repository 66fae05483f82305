"""Which pictures are held out: never trained on, they tell what the adapter has learned beyond its pictures."""

from collections.abc import Sequence


def held_out(groups: Sequence[Sequence[int]], hashes: Sequence[str], share: float) -> frozenset[int]:
    """The numbers of the pictures held out: about ``share`` of all, at least one from three pictures up.

    ``groups`` are the pictures' numbers, versions of one picture together: a group is held out whole or not at all, so that no
    held-out picture has a version among the trained ones. ``hashes`` are those of the pictures' contents, by which the groups are
    drawn: another name or order of the same pictures changes nothing. Nothing is held out of fewer than three pictures, nor when
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
