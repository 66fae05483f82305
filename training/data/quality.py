"""What an image may lack that a trainer cannot give back: sharpness and light. Flags for the user, who decides."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEAST_SHARPNESS = 0.01
"""Of the variance of an image's light, the share that its second derivative must have; a blur over three pixels leaves less."""

LOST = 0.9
"""With more than this share of its pixels black or white, an image shows next to nothing."""

_BLACK, _WHITE = 5, 250
_ROUNDING = 20 / 12
"""The variance that rounding to whole numbers alone gives the Laplacian, whose coefficients' squares sum to 20."""


def flags(image: Image.Image) -> tuple[str, ...]:
    """What seems wrong with an RGB image, looked at in the size it is trained at."""
    light = np.asarray(image.convert("L"), np.float32)
    found = []
    if (light <= _BLACK).mean() > LOST:
        found.append("nearly all of it is black")
    if (light >= _WHITE).mean() > LOST:
        found.append("nearly all of it is white")
    if sharpness(light) < LEAST_SHARPNESS:
        found.append("looks blurred")
    return tuple(found)


def sharpness(light: NDArray[np.float32]) -> float:
    """The variance of the Laplacian of ``light`` (height, width) relative to its own; 0 of an even surface."""
    middle = light[1:-1, 1:-1]
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    variance = float(light.var())
    return max(0.0, float((around - 4 * middle).var()) - _ROUNDING) / variance if variance > 0 else 0.0
