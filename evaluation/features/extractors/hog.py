"""Histograms of oriented gradients: outline and surface of the one object in an image, independent of colours and position."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from evaluation.arrays import Features, Pixels
from evaluation.features.extractors.base import Identity, WeightlessExtractor, normalized

_BORDER = 5
"""Width in pixels of the border, whose colour is taken for the background's."""

_MIN_PATCH_AREA = 0.2
"""A patch is part of the object if its area is at least this share of the largest patch's area."""

_MARGIN = 1.2
_EDGE, _CELLS, _ORIENTATIONS = 64, 4, 8
_MAX_COMPONENT = 0.25
"""Each component (one direction in one cell) is clipped to this value before the vector is normalized again."""

Floats = NDArray[np.float64]


class Hog(WeightlessExtractor):
    """4 × 4 cells × 8 orientations (Dalal and Triggs, CVPR 2005, on the grid of Lowe's SIFT, IJCV 2004) of the cropped object.

    It needs no weights and recognizes outlines that have no name. It is for images of one object on a plain background, like the
    miniature's: in other images it crops to whatever differs from the border.
    """

    identity = Identity(name="hog", weights=None, revision=f"{_CELLS}x{_CELLS}x{_ORIENTATIONS}")

    def embed_images(self, images: Sequence[Pixels]) -> Features:
        return normalized([_histograms(_crop_to_object(image)) for image in images])


def _crop_to_object(image: Pixels) -> Pixels:
    """Return a square around what differs from the border's colour, or the whole image if nothing does."""
    pixels = image.astype(np.float64)
    border = np.concatenate([edge.reshape(-1, 3) for edge in _borders(pixels)])
    distance = ndimage.gaussian_filter(np.linalg.norm(pixels - np.median(border, axis=0), axis=-1), 1)
    labels, _ = ndimage.label(distance > max(1.0, 0.5 * np.percentile(distance, 99.5)))
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    if not areas.any():
        return image
    rows, columns = np.nonzero(np.isin(labels, np.flatnonzero(areas >= _MIN_PATCH_AREA * areas.max())))
    edge = int(_MARGIN * (1 + max(np.ptp(rows), np.ptp(columns))))
    top, left = ((positions.min() + positions.max() - edge) // 2 + edge for positions in (rows, columns))
    # The square may extend beyond the image: there the border is repeated.
    padded = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    return padded[top : top + edge, left : left + edge]


def _borders(pixels: Floats) -> tuple[Floats, ...]:
    return pixels[:_BORDER], pixels[-_BORDER:], pixels[:, :_BORDER], pixels[:, -_BORDER:]


def _histograms(image: Pixels) -> Floats:
    """Return the strength of edges of each orientation around the centre of each cell, (orientations × cells × cells,)."""
    small = np.asarray(Image.fromarray(image).resize((_EDGE, _EDGE), Image.Resampling.BICUBIC), np.float64)
    strength, angle = _gradients(ndimage.gaussian_filter(small, (1, 1, 0)))
    # Which side of an edge is brighter depends on the colours, so directions have no sign and span half a turn.
    position = angle % np.pi / np.pi * _ORIENTATIONS
    lower = position.astype(int) % _ORIENTATIONS
    fraction = position - np.floor(position)
    rows, columns = np.indices(strength.shape)
    planes = np.zeros((_ORIENTATIONS, _EDGE, _EDGE))
    planes[lower, rows, columns] += strength * (1 - fraction)
    planes[(lower + 1) % _ORIENTATIONS, rows, columns] += strength * fraction
    size = _EDGE // _CELLS
    histograms = ndimage.gaussian_filter(planes, (0, size / 2, size / 2))[:, size // 2 :: size, size // 2 :: size].ravel()
    clipped: Floats = np.minimum(histograms / max(1e-12, float(np.linalg.norm(histograms))), _MAX_COMPONENT)
    return clipped


def _gradients(image: Floats) -> tuple[Floats, Floats]:
    """Return strength, 0 … 1, and angle of the gradient at each pixel, in the channel in which it is strongest."""
    down, across = np.gradient(image, axis=(0, 1))
    strongest = np.hypot(across, down).argmax(axis=-1)[..., None]
    y, x = (np.take_along_axis(gradient, strongest, axis=-1)[..., 0] for gradient in (down, across))
    strength = np.hypot(x, y)
    return np.minimum(1.0, strength / max(1e-12, float(np.percentile(strength, 99)))), np.arctan2(y, x)


EXTRACTOR = Hog
