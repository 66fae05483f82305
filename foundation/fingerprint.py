"""Fingerprints of images: they tell versions of one, copies and the same scaled, compressed, cut or brightened a little."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_BITS = 26
"""Of the 192 of the three channels' perceptual hashes, so many may differ between two versions of one image."""

MOST_COLOUR = 20.0
"""So far, of 255, may two versions of one image lie apart on average over an 8 × 8 reduction."""

ONE_IMAGE = (10, 5.0)
"""Bits and colour within which two images are one, and not only alike."""

_SHORT_SIDE = 128
_SAME_SHAPE = 0.02
_SAME_IMAGE_CUT = 2.2
"""An image is cut to at most this much of another shape: beyond, what is left of it says little."""


@dataclass(frozen=True)
class Fingerprint:
    """What survives scaling and compression.

    Each channel's perceptual hash, bool (192,), and colours, float32 (192,), of the whole image, and the ``image`` itself,
    its shorter side at most 128 pixels, to compare with images of other shapes.
    """

    shapes: NDArray[np.bool_]
    colours: NDArray[np.float32]
    image: Image.Image

    @property
    def shape(self) -> float:
        """The logarithm of the image's width ÷ height."""
        return math.log(self.image.width / self.image.height)

    def cut_to(self, shape: float) -> "Fingerprint":
        """That of the image with what does not fit ``shape`` cut off at its ends, as it is cut to be trained on."""
        width, height = self.image.size
        wanted = math.exp(shape)
        if wanted < width / height:
            kept = max(1, round(height * wanted))
            box = ((width - kept) // 2, 0, (width - kept) // 2 + kept, height)
        else:
            kept = max(1, round(width / wanted))
            box = (0, (height - kept) // 2, width, (height - kept) // 2 + kept)
        return fingerprint(self.image.crop(box))


@dataclass(frozen=True)
class Fingerprints:
    """Those of n images: shapes, bool (n, 192), and colours, float32 (n, 192), with each by itself."""

    shapes: NDArray[np.bool_]
    colours: NDArray[np.float32]
    each: tuple[Fingerprint, ...]

    @classmethod
    def of(cls, prints: Sequence[Fingerprint]) -> "Fingerprints":
        """Of at least one image."""
        return cls(np.stack([each.shapes for each in prints]), np.stack([each.colours for each in prints]), tuple(prints))

    def __getitem__(self, places: slice) -> "Fingerprints":
        return Fingerprints(self.shapes[places], self.colours[places], self.each[places])

    def versions_of(self, one: Fingerprint, bits: int = MOST_BITS, colour: float = MOST_COLOUR) -> NDArray[np.bool_]:
        """Which of them are of versions of the image that ``one`` is of, (n,), by so many bits and so far in colour.

        Images are compared as they are, and where their shapes differ, each also cut to the shape of the other.
        """
        near = self.near(one, bits, colour)
        others = np.array([each.shape for each in self.each])
        apart = np.abs(others - one.shape)
        for shape in sorted(set(others[(apart > _SAME_SHAPE) & (apart <= math.log(_SAME_IMAGE_CUT))])):
            places = np.flatnonzero((others == shape) & ~near)
            near[places] |= self.near(one.cut_to(float(shape)), bits, colour)[places]
            for place in places[~near[places]]:
                near[place] = Fingerprints.of([self.each[place].cut_to(one.shape)]).near(one, bits, colour)[0]
        return near

    def near(self, one: Fingerprint, bits: int = MOST_BITS, colour: float = MOST_COLOUR) -> NDArray[np.bool_]:
        """Which of them are like ``one`` as they are, whatever their shapes, (n,)."""
        near: NDArray[np.bool_] = (one.shapes != self.shapes).sum(1) <= bits
        near &= np.abs(one.colours - self.colours).mean(1) <= colour
        return near


def fingerprint(image: Image.Image) -> Fingerprint:
    """The fingerprint of an RGB image. Hashes of grey alone would take a red thing on green for a green thing on red."""
    shapes = [imagehash.phash(channel).hash.ravel() for channel in image.split()]
    colours = np.asarray(image.resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
    return Fingerprint(np.concatenate(shapes), colours, _small(image))


def _small(image: Image.Image) -> Image.Image:
    zoom = _SHORT_SIDE / min(image.size)
    if zoom >= 1:
        return image.copy()
    size = max(1, round(image.width * zoom)), max(1, round(image.height * zoom))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2)
