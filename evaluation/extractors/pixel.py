"""Small copies of the pictures themselves: needs no weights and knows nothing of what they show."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from evaluation.extractors.base import Extractor, Features, Identity, Pixels, normalized

_EDGE = 16


class Pixel(Extractor):
    """16 × 16 copies, grey taken away: a smoke check that says whether pictures differ, not what they show."""

    identity = Identity(name="pixel", weights=None, revision=f"{_EDGE}x{_EDGE}", is_smoke_check=True)

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        return cls.identity

    @classmethod
    def open(cls, weights: str | None) -> "Pixel":
        return cls()

    def images(self, pictures: Sequence[Pixels]) -> Features:
        small = [Image.fromarray(picture).resize((_EDGE, _EDGE), Image.Resampling.BOX) for picture in pictures]
        return normalized([np.asarray(picture, np.float64).ravel() - 127.5 for picture in small])


EXTRACTOR = Pixel
