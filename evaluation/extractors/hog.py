"""Histograms of oriented gradients: what outline and surface the one object of an image has, whatever its colours and place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from evaluation.extractors.base import Features, Identity, Pixels, Weightless, normalized

_FRAME = 5
"""Pixels of the border, by which the background is known."""

_PIECE = 0.2
"""A patch of at least so much of the largest one's area is a piece of the object."""

_MARGIN = 1.2
_EDGE, _CELLS, _ORIENTATIONS = 64, 4, 8
_MOST = 0.25
"""No single direction in a single cell counts for more, before the whole is brought to length one again."""

Floats = NDArray[np.float64]


class Hog(Weightless):
    """4 × 4 cells × 8 orientations (Dalal and Triggs, CVPR 2005, on the grid of Lowe's SIFT, IJCV 2004) of the framed object.

    It needs no weights and knows outlines that have no name. It is for images of one object on an even background, as the
    miniature's are: of others it frames whatever stands out from the border.
    """

    identity = Identity(name="hog", weights=None, revision=f"{_CELLS}x{_CELLS}x{_ORIENTATIONS}")

    def images(self, images: Sequence[Pixels]) -> Features:
        return normalized([_histograms(_framed(image)) for image in images])


def _framed(image: Pixels) -> Pixels:
    """A square around what stands out from the border's colour, the whole image where nothing does."""
    pixels = image.astype(np.float64)
    border = np.concatenate([edge.reshape(-1, 3) for edge in _edges(pixels)])
    distance = ndimage.gaussian_filter(np.linalg.norm(pixels - np.median(border, axis=0), axis=-1), 1)
    labels, _ = ndimage.label(distance > max(1.0, 0.5 * np.percentile(distance, 99.5)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if not sizes.any():
        return image
    rows, columns = np.nonzero(np.isin(labels, np.flatnonzero(sizes >= _PIECE * sizes.max())))
    edge = int(_MARGIN * (1 + max(np.ptp(rows), np.ptp(columns))))
    top, left = ((each.min() + each.max() - edge) // 2 + edge for each in (rows, columns))
    # Beyond the image its border goes on.
    wide = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    return wide[top : top + edge, left : left + edge]


def _edges(pixels: Floats) -> tuple[Floats, ...]:
    return pixels[:_FRAME], pixels[-_FRAME:], pixels[:, :_FRAME], pixels[:, -_FRAME:]


def _histograms(image: Pixels) -> Floats:
    """How strong edges of each orientation are around the middle of each cell, (orientations × cells × cells,)."""
    small = np.asarray(Image.fromarray(image).resize((_EDGE, _EDGE), Image.Resampling.BICUBIC), np.float64)
    strength, angle = _gradients(ndimage.gaussian_filter(small, (1, 1, 0)))
    # Which side of an edge is the brighter one is a matter of colours: directions count without a sign, half a turn in all.
    place = angle % np.pi / np.pi * _ORIENTATIONS
    lower = place.astype(int) % _ORIENTATIONS
    share = place - np.floor(place)
    rows, columns = np.indices(strength.shape)
    planes = np.zeros((_ORIENTATIONS, _EDGE, _EDGE))
    planes[lower, rows, columns] += strength * (1 - share)
    planes[(lower + 1) % _ORIENTATIONS, rows, columns] += strength * share
    size = _EDGE // _CELLS
    around = ndimage.gaussian_filter(planes, (0, size / 2, size / 2))[:, size // 2 :: size, size // 2 :: size].ravel()
    whole: Floats = np.minimum(around / max(1e-12, float(np.linalg.norm(around))), _MOST)
    return whole


def _gradients(image: Floats) -> tuple[Floats, Floats]:
    """Strength, 0 … 1, and angle of the gradient at each pixel, in the channel that it is strongest in."""
    down, across = np.gradient(image, axis=(0, 1))
    strongest = np.hypot(across, down).argmax(axis=-1)[..., None]
    y, x = (np.take_along_axis(each, strongest, axis=-1)[..., 0] for each in (down, across))
    strength = np.hypot(x, y)
    return np.minimum(1.0, strength / max(1e-12, float(np.percentile(strength, 99)))), np.arctan2(y, x)


EXTRACTOR = Hog
