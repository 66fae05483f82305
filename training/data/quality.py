"""Flag images that are blurred or almost entirely black or white. The user decides whether to use them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIN_SHARPNESS = 0.01
"""The least variance of the Laplacian relative to that of the luminance; a blur over three pixels leaves less."""

MAX_CLIPPED = 0.9
"""If more than this fraction of its pixels is black or white, an image shows next to nothing."""

_BLACK, _WHITE = 5, 250
_ROUNDING = 20 / 12
"""The variance that rounding to integers alone adds to the Laplacian: the squares of its coefficients sum to 20."""


def quality_flags(image: Image.Image) -> tuple[str, ...]:
    """Return what seems wrong with an RGB image at its training size."""
    luminance = np.asarray(image.convert("L"), np.float32)
    flags = []
    if (luminance <= _BLACK).mean() > MAX_CLIPPED:
        flags.append("nearly all of it is black")
    if (luminance >= _WHITE).mean() > MAX_CLIPPED:
        flags.append("nearly all of it is white")
    if sharpness(luminance) < MIN_SHARPNESS:
        flags.append("looks blurred")
    return tuple(flags)


def sharpness(luminance: NDArray[np.float32]) -> float:
    """Return the variance of the Laplacian of ``luminance`` (height, width) relative to its own variance; 0 for a flat image."""
    centre = luminance[1:-1, 1:-1]
    neighbours = luminance[:-2, 1:-1] + luminance[2:, 1:-1] + luminance[1:-1, :-2] + luminance[1:-1, 2:]
    variance = float(luminance.var())
    return max(0.0, float((neighbours - 4 * centre).var()) - _ROUNDING) / variance if variance > 0 else 0.0
