"""Image features and reference statistics made by hand."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.metrics.base import ImageFeatures, PromptSamples, ReferenceStats
from evaluation.protocol.plan import Stratum
from foundation.fingerprint import Fingerprint

X, Y, Z = np.eye(3)


def plain_fingerprint(value: int) -> Fingerprint:
    """The fingerprint of an image of one colour; two whose values are far apart are of different images."""
    return Fingerprint(np.full(192, value % 2 == 0), np.full(192, value, np.float32), Image.new("RGB", (8, 8)))


def features(*rows: NDArray[np.float64], clipped: float = 0.0, fingerprints: tuple[int, ...] | None = None) -> ImageFeatures:
    """Images with these features, which are text-aligned too; ``fingerprints``: the colour of each image."""
    array = np.array(rows, np.float64)
    colours = fingerprints if fingerprints is not None else tuple(range(10, 10 + len(rows)))
    return ImageFeatures(array, array, np.full(len(rows), clipped), tuple(plain_fingerprint(colour) for colour in colours))


def prompt_samples(
    images: ImageFeatures, base: ImageFeatures, stratum: Stratum = "trained", prompt: str = "a red z"
) -> PromptSamples:
    """The images of one prompt."""
    return PromptSamples(stratum, prompt, images, base)


def reference_stats(
    held_out: ImageFeatures | None = None,
    training: ImageFeatures | None = None,
    control_distance: float | None = 0.5,
    text_margin: float | None = 0.5,
    control_diversity: float | None = 0.5,
) -> ReferenceStats:
    """What images are compared with; the text feature of the one prompt is Y."""
    return ReferenceStats(held_out, training, {"a red z": Y}, control_distance, text_margin, control_diversity)
