"""Fingerprints of images: they find versions of one image (copies, scaled, recompressed, cropped or slightly brightened)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_HASH_BITS = 26
"""Of the 192 bits of the three channels' perceptual hashes, so many may differ between two versions of one image."""

MAX_COLOUR_DISTANCE = 20.0
"""Largest mean difference, of 255, between two versions of one image, each reduced to 8 × 8 pixels."""

SAME_IMAGE = (10, 5.0)
"""Hash bits and colour distance within which two images are the same one, and not only similar."""

_SHORT_SIDE = 128
_SAME_ASPECT = 0.02
_MAX_CROP = 2.2
"""Largest ratio of two aspect ratios at which one image is cropped to the other: beyond, what remains says little."""


@dataclass(frozen=True)
class Fingerprint:
    """What survives scaling and compression.

    ``hashes``, bool (192,), are each channel's perceptual hash and ``colours``, float32 (192,), the 8 × 8 reduction of the whole
    image. ``image`` is the image itself, its shorter side at most 128 pixels, to compare with images of other aspect ratios.
    """

    hashes: NDArray[np.bool_]
    colours: NDArray[np.float32]
    image: Image.Image

    @property
    def log_aspect(self) -> float:
        """Return the logarithm of the image's width ÷ height."""
        return math.log(self.image.width / self.image.height)

    def crop_to(self, log_aspect: float) -> "Fingerprint":
        """Return the fingerprint of the image's centre crop with that aspect ratio, as training crops images."""
        width, height = self.image.size
        aspect = math.exp(log_aspect)
        if aspect < width / height:
            length = max(1, round(height * aspect))
            box = ((width - length) // 2, 0, (width - length) // 2 + length, height)
        else:
            length = max(1, round(width / aspect))
            box = (0, (height - length) // 2, width, (height - length) // 2 + length)
        return fingerprint(self.image.crop(box))


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of n images, stacked: ``hashes``, bool (n, 192), and ``colours``, float32 (n, 192); and one by one."""

    hashes: NDArray[np.bool_]
    colours: NDArray[np.float32]
    entries: tuple[Fingerprint, ...]

    @classmethod
    def of(cls, prints: Sequence[Fingerprint]) -> "Fingerprints":
        """Stack the fingerprints of at least one image."""
        return cls(np.stack([entry.hashes for entry in prints]), np.stack([entry.colours for entry in prints]), tuple(prints))

    def __getitem__(self, indices: slice) -> "Fingerprints":
        return Fingerprints(self.hashes[indices], self.colours[indices], self.entries[indices])

    def find_versions(
        self, query: Fingerprint, bits: int = MAX_HASH_BITS, colour: float = MAX_COLOUR_DISTANCE
    ) -> NDArray[np.bool_]:
        """Return a mask, bool (n,), of the images that are versions of the query's image, within ``bits`` and ``colour``.

        Images are compared as they are and, where their aspect ratios differ, each also cropped to the aspect ratio of the other.
        """
        near = self.near(query, bits, colour)
        log_aspects = np.array([entry.log_aspect for entry in self.entries])
        distances = np.abs(log_aspects - query.log_aspect)
        for log_aspect in sorted(set(log_aspects[(distances > _SAME_ASPECT) & (distances <= math.log(_MAX_CROP))])):
            indices = np.flatnonzero((log_aspects == log_aspect) & ~near)
            near[indices] |= self.near(query.crop_to(float(log_aspect)), bits, colour)[indices]
            for index in indices[~near[indices]]:
                near[index] = Fingerprints.of([self.entries[index].crop_to(query.log_aspect)]).near(query, bits, colour)[0]
        return near

    def near(self, query: Fingerprint, bits: int = MAX_HASH_BITS, colour: float = MAX_COLOUR_DISTANCE) -> NDArray[np.bool_]:
        """Return a mask, bool (n,), of the images similar to the query's as they are, whatever their aspect ratios."""
        near: NDArray[np.bool_] = (query.hashes != self.hashes).sum(1) <= bits
        near &= np.abs(query.colours - self.colours).mean(1) <= colour
        return near


def fingerprint(image: Image.Image) -> Fingerprint:
    """Return the fingerprint of an RGB image. A hash of grey alone would confuse red on green with green on red."""
    hashes = [imagehash.phash(channel).hash.ravel() for channel in image.split()]
    colours = np.asarray(image.resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
    return Fingerprint(np.concatenate(hashes), colours, _small(image))


def _small(image: Image.Image) -> Image.Image:
    scale = _SHORT_SIDE / min(image.size)
    if scale >= 1:
        return image.copy()
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2)
