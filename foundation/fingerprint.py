"""Fingerprints of pictures: they tell versions of one, copies and the same scaled, compressed or brightened a little."""

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


@dataclass(frozen=True)
class Fingerprints:
    """Those of n pictures: shapes, bool (n, 192), and colours, float32 (n, 192)."""

    shapes: NDArray[np.bool_]
    colours: NDArray[np.float32]

    @classmethod
    def of(cls, prints: Sequence[Fingerprint]) -> "Fingerprints":
        """Of at least one picture."""
        return cls(np.stack([each.shapes for each in prints]), np.stack([each.colours for each in prints]))

    def __getitem__(self, places: slice) -> "Fingerprints":
        return Fingerprints(self.shapes[places], self.colours[places])

    def versions_of(self, one: Fingerprint, bits: int = MOST_BITS, colour: float = MOST_COLOUR) -> NDArray[np.bool_]:
        """Which of them are of versions of the picture that ``one`` is of, (n,), by so many bits and so far in colour."""
        near: NDArray[np.bool_] = (one.shapes != self.shapes).sum(1) <= bits
        near &= np.abs(one.colours - self.colours).mean(1) <= colour
        return near


def fingerprint(picture: Image.Image) -> Fingerprint:
    """The fingerprint of an RGB picture. Hashes of grey alone would take a red thing on green for a green thing on red."""
    shapes = [imagehash.phash(channel).hash.ravel() for channel in picture.split()]
    colours = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
    return Fingerprint(np.concatenate(shapes), colours)
