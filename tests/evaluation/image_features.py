"""Images as what was seen of them, made by hand."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.metrics.base import ImageFeatures, PromptSamples, ReferenceStats
from evaluation.protocol import Stratum
from foundation.fingerprint import Fingerprint

X, Y, Z = np.eye(3)


def plain_print(value: int) -> Fingerprint:
    """The fingerprint of an image of one colour; two whose values lie far apart are of different images."""
    return Fingerprint(np.full(192, value % 2 == 0), np.full(192, value, np.float32), Image.new("RGB", (8, 8)))


def seen(*rows: NDArray[np.float64], clipped: float = 0.0, prints: tuple[int, ...] | None = None) -> ImageFeatures:
    """Images with such features, which are readable too."""
    features = np.array(rows, np.float64)
    values = prints if prints is not None else tuple(range(10, 10 + len(rows)))
    return ImageFeatures(features, features, np.full(len(rows), clipped), tuple(plain_print(value) for value in values))


def cell(images: ImageFeatures, base: ImageFeatures, stratum: Stratum = "trained", prompt: str = "a red z") -> PromptSamples:
    """The images of one prompt."""
    return PromptSamples(stratum, prompt, images, base)


def known(
    held_out: ImageFeatures | None = None,
    training: ImageFeatures | None = None,
    apart: float | None = 0.5,
    lead: float | None = 0.5,
    spread: float | None = 0.5,
) -> ReferenceStats:
    """What they are compared with; the words of the one prompt are Y."""
    return ReferenceStats(held_out, training, {"a red z": Y}, apart, lead, spread)
