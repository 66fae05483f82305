"""Images as what was seen of them, made by hand."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.metrics.base import Cell, Known, Seen
from evaluation.protocol import Stratum
from foundation.fingerprint import Fingerprint

X, Y, Z = np.eye(3)


def plain_print(value: int) -> Fingerprint:
    """The fingerprint of an image of one colour; two whose values lie far apart are of different images."""
    return Fingerprint(np.full(192, value % 2 == 0), np.full(192, value, np.float32), Image.new("RGB", (8, 8)))


def seen(*rows: NDArray[np.float64], clipped: float = 0.0, prints: tuple[int, ...] | None = None) -> Seen:
    """Images with such features, which are readable too."""
    features = np.array(rows, np.float64)
    values = prints if prints is not None else tuple(range(10, 10 + len(rows)))
    return Seen(features, features, np.full(len(rows), clipped), tuple(plain_print(value) for value in values))


def cell(images: Seen, base: Seen, stratum: Stratum = "trained", prompt: str = "a red z") -> Cell:
    """The images of one prompt."""
    return Cell(stratum, prompt, images, base)


def known(
    held_out: Seen | None = None,
    training: Seen | None = None,
    apart: float | None = 0.5,
    lead: float | None = 0.5,
    spread: float | None = 0.5,
) -> Known:
    """What they are compared with; the words of the one prompt are Y."""
    return Known(held_out, training, {"a red z": Y}, apart, lead, spread)
