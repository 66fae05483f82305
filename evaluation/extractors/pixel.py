"""Small copies of the images themselves: needs no weights and knows nothing of what they show."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation.extractors.base import Features, Identity, Pixels, Weightless, normalized

_EDGE = 16


class Pixel(Weightless):
    """16 × 16 copies, grey taken away: a smoke check that says whether images differ, not what they show."""

    identity = Identity(name="pixel", weights=None, revision=f"{_EDGE}x{_EDGE}", is_smoke_check=True)

    def images(self, images: Sequence[Pixels]) -> Features:
        small = [Image.fromarray(image).resize((_EDGE, _EDGE), Image.Resampling.BOX) for image in images]
        return normalized([np.asarray(image, np.float64).ravel() - 127.5 for image in small])


EXTRACTOR = Pixel
