"""Images that show the same, together: copies of one file, and the same image scaled, compressed or brightened a little."""

from collections.abc import Sequence

import numpy as np

from foundation.fingerprint import Fingerprint, Fingerprints


def groups(prints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """The numbers of the images, together with those they are alike, over any number of steps; each group in order."""
    group_of = list(range(len(prints)))
    together = Fingerprints.of(prints)
    for place, one in enumerate(prints):
        joined = {group_of[other] for other in np.flatnonzero(together[:place].near(one))} | {place}
        group_of = [min(joined) if group in joined else group for group in group_of]
    members: dict[int, list[int]] = {}
    for place, group in enumerate(group_of):
        members.setdefault(group, []).append(place)
    return [tuple(group) for group in members.values()]
