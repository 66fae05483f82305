"""Group duplicates: copies of one file, and one image scaled, compressed or brightened a little."""

from collections.abc import Sequence

import numpy as np

from foundation.fingerprint import Fingerprint, Fingerprints


def group_duplicates(fingerprints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """Return the indices of the images in groups of duplicates, each group in order; an image without duplicates is a group.

    A duplicate of a duplicate is in the same group.
    """
    group_of = list(range(len(fingerprints)))
    stacked = Fingerprints.of(fingerprints)
    for index, fingerprint in enumerate(fingerprints):
        joined = {group_of[earlier] for earlier in np.flatnonzero(stacked[:index].near(fingerprint))} | {index}
        group_of = [min(joined) if group in joined else group for group in group_of]
    members: dict[int, list[int]] = {}
    for index, group in enumerate(group_of):
        members.setdefault(group, []).append(index)
    return [tuple(group) for group in members.values()]
