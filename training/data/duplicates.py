"""Pictures that show the same: copies of one file, and the same picture scaled, compressed or brightened a little."""

from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_BITS = 26
"""Of the 192 of the three channels' perceptual hashes, so many may differ between two versions of one picture."""

MOST_COLOUR = 20.0
"""So far, of 255, may two versions of one picture lie apart on average over an 8 × 8 reduction."""


@dataclass(frozen=True)
class Fingerprint:
    """What survives scaling and compression: each channel's perceptual hash, bool (192,), and colours, float32 (192,)."""

    shapes: NDArray[np.bool_]
    colours: NDArray[np.float32]


def fingerprint(picture: Image.Image) -> Fingerprint:
    """The fingerprint of an RGB picture. Hashes of grey alone would take a red thing on green for a green thing on red."""
    shapes = [imagehash.phash(channel).hash.ravel() for channel in picture.split()]
    colours = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
    return Fingerprint(np.concatenate(shapes), colours)


def alike(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether both are versions of one picture."""
    return len(groups((one, other))) == 1


def groups(prints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """The numbers of the pictures, together with those they are alike, over any number of steps; each group in order."""
    group_of = list(range(len(prints)))
    shapes = np.stack([each.shapes for each in prints])
    colours = np.stack([each.colours for each in prints])
    for place in range(len(prints)):
        near = (shapes[place] != shapes[:place]).sum(1) <= MOST_BITS
        near &= np.abs(colours[place] - colours[:place]).mean(1) <= MOST_COLOUR
        joined = {group_of[other] for other in np.flatnonzero(near)} | {place}
        group_of = [min(joined) if group in joined else group for group in group_of]
    members: dict[int, list[int]] = {}
    for place, group in enumerate(group_of):
        members.setdefault(group, []).append(place)
    return [tuple(group) for group in members.values()]
