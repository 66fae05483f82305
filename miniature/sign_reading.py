"""Read the sign off the image of a plate by geometry: by its overlap with every sign that there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from miniature.drawing import ImageArray, mark_coverage
from miniature.geometry import Mask, best_overlap, largest_patch, normalize_mask, to_lab
from miniature.glyphs import GLYPHS, plate
from miniature.world import COLOURS, Scene

_FRAME = 0.1
"""Share of the plate's width at its edges where no sign is: a drawing has a dark line there."""
_ROTATIONS = (-6.0, -3.0, 0.0, 3.0, 6.0)
_MIN_PLATE, _MIN_SIGN = 400, 20


@dataclass(frozen=True)
class SignReading:
    """The sign that a plate bears, None if there is no plate or nothing on it, and its intersection over union, 0 … 1."""

    glyph: str | None
    overlap: float


def read_sign(image: ImageArray, scene: Scene) -> SignReading:
    """Read the sign in the second colour of ``scene`` on the plate of its colour off an image (height, width, 3)."""
    distances = _distances(image, scene)
    on_plate = _plate(distances)
    sign = (distances["second"] < distances["colour"]) & _without_frame(on_plate)
    if on_plate.sum() < _MIN_PLATE or sign.sum() < _MIN_SIGN:
        return SignReading(None, 0.0)
    drawn = normalize_mask(sign)
    overlaps = {glyph: best_overlap(drawn, templates) for glyph, templates in _templates().items()}
    best = max(overlaps, key=lambda glyph: overlaps[glyph])
    return SignReading(best, overlaps[best])


def _distances(image: ImageArray, scene: Scene) -> Mapping[str, np.ndarray]:
    """The distance of each pixel to each colour of the scene."""
    lab = to_lab(image.astype(np.float32))
    colours = {name: np.array(COLOURS[getattr(scene, name)]) for name in ("colour", "second", "background")}
    return {name: np.linalg.norm(lab - to_lab(colour), axis=-1) for name, colour in colours.items()}


def _plate(distances: Mapping[str, np.ndarray]) -> Mask:
    """Where the plate is, its sign included."""
    is_plate = (distances["colour"] < distances["background"]) & (distances["colour"] < distances["second"])
    filled: Mask = ndimage.binary_fill_holes(largest_patch(is_plate))
    return filled


def _without_frame(on_plate: Mask) -> Mask:
    width = round(_FRAME * np.sqrt(on_plate.sum()))
    inner: Mask = ndimage.binary_erosion(on_plate, iterations=max(1, width))
    return inner


@lru_cache(maxsize=1)
def _templates() -> Mapping[str, tuple[Mask, ...]]:
    placements = [((64.0, 64.0), 44.0, rotation, 128) for rotation in _ROTATIONS]
    return {
        glyph: tuple(normalize_mask(mark_coverage(plate(glyph), *placement) > 0.5) for placement in placements)
        for glyph in GLYPHS
    }
