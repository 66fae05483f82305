"""Read a scene off an image's pixels by geometry alone: colours by distance, position by bounding box, shape by overlap.

No learned model takes part, so weaknesses of a grader trained on the same world cannot inflate a grade.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from miniature.drawing import ImageArray, body_coverage, mark_coverage
from miniature.outlines import CONCEPTS, OUTLINES, Outline
from miniature.patterns import Floats
from miniature.world import COLOURS, POSITIONS

BORDER = 5
"""Width in pixels of the image's border, from which the background is read."""

_TEMPLATE_SIZE = 64
_ROTATIONS = (-10.0, -5.0, 0.0, 5.0, 10.0)
_CENTER_TOLERANCE = 12.0
_MAX_GAP, _MIN_PIECE = 12, 0.2
"""A patch is a piece of an object if it is at most ``_MAX_GAP`` pixels away and has at least this share of its area."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Reading:
    """What an image shows. ``overlap`` is the best shape's intersection over union with the object, 0 … 1."""

    background: str
    colour: str | None
    position: str | None
    shape: str | None
    overlap: float


def read(image: ImageArray) -> Reading:
    """Read background, object colour, position and shape off an sRGB image (height, width, 3) with one object in it."""
    pixels = image.astype(np.float32)
    background = _background(pixels)
    inside = object_mask(pixels)
    if not inside.any():
        return Reading(background, None, None, None, 0.0)
    core = ndimage.binary_erosion(inside, iterations=2)
    surface = np.median(pixels[core if core.any() else inside], axis=0)
    overlaps = shape_overlaps(inside)
    shape = max(overlaps, key=lambda name: overlaps[name])
    return Reading(background, nearest_colour(surface), _position(inside), shape, overlaps[shape])


def nearest_colour(rgb: Floats) -> str:
    """Return the world's colour word nearest to ``rgb`` in a perceptually uniform colour space."""
    lab = to_lab(rgb)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(to_lab(np.array(COLOURS[name])) - lab)))


def object_mask(pixels: Floats) -> Mask:
    """Return the mask (height, width) of the object, in one piece or several close together, without its holes."""
    lab = to_lab(pixels)
    background = background_tones(lab)
    distance = np.min(np.linalg.norm(lab[..., None, :] - background, axis=-1), axis=-1)
    # A drawing's outline may stand out more than its surface does: what the outline encloses belongs to the object too.
    standing_out = largest_patch(distance > 0.5 * np.percentile(distance, 99.5))
    seed = ndimage.binary_fill_holes(standing_out) & (distance > 12)
    if seed.sum() < 20:
        return np.zeros(seed.shape, dtype=bool)
    core = ndimage.binary_erosion(seed, iterations=2)
    surface = np.median(lab[core if core.sum() > 10 else seed], axis=0)
    return object_patches(np.linalg.norm(lab - surface, axis=-1) < distance)


def shape_overlaps(inside: Mask) -> dict[str, float]:
    """Return the intersection over union of an object's mask with every known shape in the same bounding box, 0 … 1."""
    normalized = normalize_mask(inside)
    return {name: best_overlap(normalized, templates) for name, templates in _shape_templates().items()}


def best_overlap(mask: Mask, templates: Iterable[Mask]) -> float:
    """Return the best intersection over union of a normalized mask with normalized ``templates``, 0 … 1."""
    return max(float((mask & template).sum() / (mask | template).sum()) for template in templates)


def body_templates(outline: Outline) -> tuple[Mask, ...]:
    """Return the normalized masks of an outline, rotated a little to both sides."""
    return tuple(
        normalize_mask(largest_patch(body_coverage(outline, (64.0, 64.0), 44.0, rotation, 128) > 0.5)) for rotation in _ROTATIONS
    )


def mark_templates(outline: Outline) -> tuple[Mask, ...]:
    """Return the masks of an outline's marks, normalized by the bounding box of its body, rotated a little to both sides."""
    placements = [((64.0, 64.0), 44.0, rotation, 128) for rotation in _ROTATIONS]
    bodies = [body_coverage(outline, *placement) > 0.5 for placement in placements]
    marks = [mark_coverage(outline, *placement) > 0.5 for placement in placements]
    return tuple(normalize_mask(mark & body, body) for mark, body in zip(marks, bodies, strict=True))


def _background(pixels: Floats) -> str:
    votes = [nearest_colour(pixel) for pixel in _border(pixels)[::7]]
    return max(COLOURS, key=votes.count)


def background_tones(lab: Floats) -> Floats:
    """Return the two tones of the background, (2, 3): the medians of the darker and the lighter half of the image's border."""
    border = _border(lab)
    order = np.argsort(border[:, 0])
    return np.stack([np.median(border[half], axis=0) for half in np.array_split(order, 2)])


def _border(values: Floats) -> Floats:
    inner = np.zeros(values.shape[:2], dtype=bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    return values[~inner]


def _position(inside: Mask) -> str:
    rows, columns = np.nonzero(inside)
    height, width = inside.shape
    x = ((columns.min() + columns.max()) / 2 - (width - 1) / 2) * 128 / width
    y = ((rows.min() + rows.max()) / 2 - (height - 1) / 2) * 128 / height
    if max(abs(x), abs(y)) < _CENTER_TOLERANCE:
        return "center"
    return min(POSITIONS, key=lambda name: (POSITIONS[name][0] - x) ** 2 + (POSITIONS[name][1] - y) ** 2)


def largest_patch(patches: Mask) -> Mask:
    """Return the largest connected patch alone."""
    labels, count = ndimage.label(patches)
    if count == 0:
        return patches
    sizes = np.bincount(labels.ravel())[1:]
    largest: Mask = labels == 1 + int(np.argmax(sizes))
    return largest


def object_patches(patches: Mask) -> Mask:
    """Return the largest connected patch and nearby patches of similar size: a K whose arms do not touch is one object."""
    labels, _ = ndimage.label(patches)
    main = largest_patch(patches)
    near = np.unique(labels[ndimage.binary_dilation(main, iterations=_MAX_GAP) & patches])
    sizes = np.bincount(labels.ravel())
    pieces: Mask = np.isin(labels, [label for label in near if sizes[label] >= _MIN_PIECE * main.sum()]) & patches
    return pieces


def normalize_mask(mask: Mask, reference: Mask | None = None) -> Mask:
    """Return the mask within its bounding box, or that of ``reference``, centred in a square and scaled by the longer side."""
    rows, columns = np.nonzero(mask if reference is None else reference)
    box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    zoom = _TEMPLATE_SIZE / max(box.shape)
    scaled = ndimage.zoom(box, zoom, order=1, grid_mode=True, mode="nearest") > 0.5
    square = np.zeros((_TEMPLATE_SIZE, _TEMPLATE_SIZE), dtype=bool)
    height, width = min(scaled.shape[0], _TEMPLATE_SIZE), min(scaled.shape[1], _TEMPLATE_SIZE)
    top, left = (_TEMPLATE_SIZE - height) // 2, (_TEMPLATE_SIZE - width) // 2
    square[top : top + height, left : left + width] = scaled[:height, :width]
    return square


@lru_cache(maxsize=1)
def _shape_templates() -> Mapping[str, tuple[Mask, ...]]:
    return {name: body_templates(outline) for name, outline in {**OUTLINES, **CONCEPTS}.items()}


def to_lab(rgb: Floats) -> Floats:
    """Convert sRGB 0 … 255 to CIE L*a*b* (D65), in which a distance of 2 is just visible."""
    scaled = np.asarray(rgb, dtype=np.float32) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32)
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089], dtype=np.float32)
    cube = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = cube[..., 0], cube[..., 1], cube[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)
