"""Small copies of the images themselves: needs no weights and recognizes nothing in them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation.arrays import Features, Pixels
from evaluation.features.extractors.base import Identity, WeightlessExtractor, normalized

_EDGE = 16


class Pixel(WeightlessExtractor):
    """16 × 16 copies minus mid-grey: a smoke check that says whether images differ, not what they show."""

    identity = Identity(name="pixel", weights=None, revision=f"{_EDGE}x{_EDGE}", is_smoke_check=True)

    def embed_images(self, images: Sequence[Pixels]) -> Features:
        small = [Image.fromarray(image).resize((_EDGE, _EDGE), Image.Resampling.BOX) for image in images]
        return normalized([np.asarray(image, np.float64).ravel() - 127.5 for image in small])


EXTRACTOR = Pixel
