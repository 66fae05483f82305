"""Reading a scene back off the pixels by geometry alone: colours by distance, position by centre of mass, shape by overlap.

No learned model takes part, so a grade cannot be flattered by the weakness of a grader that was trained on the same world.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from miniature.drawing import ImageArray, marks, mask
from miniature.outlines import CONCEPTS, OUTLINES, Outline
from miniature.patterns import Floats
from miniature.world import COLOURS, POSITIONS

FRAME = 5
"""Width in pixels of the image's edge, on which the background is read."""

_SHEET = 64
_ROTATIONS = (-10.0, -5.0, 0.0, 5.0, 10.0)
_CENTER_REACH = 12.0
_GAP, _PIECE = 12, 0.2
"""What is at most so many pixels from an object, and at least so much of its area, is a piece of it."""

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
    """The world's colour word nearest to ``rgb`` in a space where equal distances look about equal."""
    wanted = perceptual(rgb)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(perceptual(np.array(COLOURS[name])) - wanted)))


def object_mask(pixels: Floats) -> Mask:
    """The object on its background, in one piece or in several close together, with its holes left open; (height, width)."""
    lab = perceptual(pixels)
    ground = ground_tones(lab)
    distance = np.min(np.linalg.norm(lab[..., None, :] - ground, axis=-1), axis=-1)
    # A drawing's outline may stand out more than its surface does: what the outline encloses belongs to the object too.
    standing_out = largest(distance > 0.5 * np.percentile(distance, 99.5))
    seed = ndimage.binary_fill_holes(standing_out) & (distance > 12)
    if seed.sum() < 20:
        return np.zeros(seed.shape, dtype=bool)
    core = ndimage.binary_erosion(seed, iterations=2)
    surface = np.median(lab[core if core.sum() > 10 else seed], axis=0)
    return joined(np.linalg.norm(lab - surface, axis=-1) < distance)


def shape_overlaps(inside: Mask) -> dict[str, float]:
    """Intersection over union of an object's mask with every known shape laid into the same bounding box, 0 … 1."""
    seen = framed(inside)
    return {name: overlap(seen, sheets) for name, sheets in _templates().items()}


def overlap(seen: Mask, sheets: Iterable[Mask]) -> float:
    """The best intersection over union of a framed mask with ``sheets``, framed masks too, 0 … 1."""
    return max(float((seen & sheet).sum() / (seen | sheet).sum()) for sheet in sheets)


def templates(outline: Outline) -> tuple[Mask, ...]:
    """The framed masks of an outline, turned a little to both sides."""
    return tuple(framed(largest(mask(outline, (64.0, 64.0), 44.0, turn, 128) > 0.5)) for turn in _ROTATIONS)


def mark_templates(outline: Outline) -> tuple[Mask, ...]:
    """The masks of an outline's marked parts, framed as its body is, turned a little to both sides."""
    places = [((64.0, 64.0), 44.0, turn, 128) for turn in _ROTATIONS]
    bodies = [mask(outline, *place) > 0.5 for place in places]
    marked = [marks(outline, *place) > 0.5 for place in places]
    return tuple(framed(mark & body, body) for mark, body in zip(marked, bodies, strict=True))


def _background(pixels: Floats) -> str:
    votes = [nearest_colour(pixel) for pixel in _frame(pixels)[::7]]
    return max(COLOURS, key=votes.count)


def ground_tones(lab: Floats) -> Floats:
    """The two tones of the background, (2, 3): its lighter and its darker half on the image's edge."""
    edge = _frame(lab)
    order = np.argsort(edge[:, 0])
    return np.stack([np.median(edge[half], axis=0) for half in np.array_split(order, 2)])


def _frame(values: Floats) -> Floats:
    inner = np.zeros(values.shape[:2], dtype=bool)
    inner[FRAME:-FRAME, FRAME:-FRAME] = True
    return values[~inner]


def _position(inside: Mask) -> str:
    rows, columns = np.nonzero(inside)
    height, width = inside.shape
    x = ((columns.min() + columns.max()) / 2 - (width - 1) / 2) * 128 / width
    y = ((rows.min() + rows.max()) / 2 - (height - 1) / 2) * 128 / height
    if max(abs(x), abs(y)) < _CENTER_REACH:
        return "center"
    return min(POSITIONS, key=lambda name: (POSITIONS[name][0] - x) ** 2 + (POSITIONS[name][1] - y) ** 2)


def largest(patches: Mask) -> Mask:
    """The largest connected patch alone."""
    labels, count = ndimage.label(patches)
    if count == 0:
        return patches
    sizes = np.bincount(labels.ravel())[1:]
    alone: Mask = labels == 1 + int(np.argmax(sizes))
    return alone


def joined(patches: Mask) -> Mask:
    """The largest connected patch and what lies close to it, of a size with it: a K whose arms do not touch is one object."""
    labels, _ = ndimage.label(patches)
    main = largest(patches)
    near = np.unique(labels[ndimage.binary_dilation(main, iterations=_GAP) & patches])
    sizes = np.bincount(labels.ravel())
    kept: Mask = np.isin(labels, [label for label in near if sizes[label] >= _PIECE * main.sum()]) & patches
    return kept


def framed(inside: Mask, around: Mask | None = None) -> Mask:
    """The bounding box of the mask, or of ``around``, scaled into a square sheet by its longer side and centred."""
    rows, columns = np.nonzero(inside if around is None else around)
    box = inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    zoom = _SHEET / max(box.shape)
    scaled = ndimage.zoom(box, zoom, order=1, grid_mode=True, mode="nearest") > 0.5
    sheet = np.zeros((_SHEET, _SHEET), dtype=bool)
    height, width = min(scaled.shape[0], _SHEET), min(scaled.shape[1], _SHEET)
    top, left = (_SHEET - height) // 2, (_SHEET - width) // 2
    sheet[top : top + height, left : left + width] = scaled[:height, :width]
    return sheet


@lru_cache(maxsize=1)
def _templates() -> Mapping[str, tuple[Mask, ...]]:
    return {name: templates(outline) for name, outline in {**OUTLINES, **CONCEPTS}.items()}


def perceptual(rgb: Floats) -> Floats:
    """SRGB 0 … 255 as CIE L*a*b* (D65), in which a distance of 2 is just visible."""
    scaled = np.asarray(rgb, dtype=np.float32) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32)
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089], dtype=np.float32)
    cube = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = cube[..., 0], cube[..., 1], cube[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)
