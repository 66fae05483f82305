"""Whether an image shows a trial concept, and what was asked besides, read off the pixels by geometry alone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from miniature import geometry
from miniature.drawing import ImageArray
from miniature.geometry import Mask
from miniature.patterns import Floats
from miniature.trials.concepts import CONCEPTS, Concept
from miniature.world import COLOURS

SHOWN = 0.6
"""Least overlap with the concept's outline, as for the demo's badge."""

_MARK_SHOWN = 0.4
_SECOND_COLOUR = 25.0
"""Distance in L*a*b* from which a part of an object has a colour of its own and is no light on it."""

_STANDS_OUT = 15.0
"""Distance in L*a*b* from the background at which something else is there."""

_CHANGES = 4
_DARK = 35.0


@dataclass(frozen=True)
class Seen:
    """``shown``: the concept; ``followed``: both colours that were asked for, and of a style the shape too."""

    shown: bool
    followed: bool


@dataclass(frozen=True)
class _Object:
    """An object's mask, where in it a second colour stands, and the words for its colours."""

    body: Mask
    second: Mask
    colours: tuple[str, ...]


def read(image: ImageArray, name: str, colour: str, background: str, shape: str) -> Seen:
    """Read an image (128, 128, 3) that was asked for with the trigger of the concept ``name``."""
    concept = CONCEPTS[name]
    plain = geometry.read(image)
    if concept.kind == "style":
        shaped, hatched = _hatched(image)
        return Seen(hatched, plain.background == background and shaped == shape)
    thing = _object(image, colour)
    if thing is None:
        return Seen(False, False)
    followed = plain.background == background and colour in thing.colours
    return Seen(_woven(thing) if concept.kind == "texture" else _shaped(name, concept, image, thing), followed)


def _shaped(name: str, concept: Concept, image: ImageArray, thing: _Object) -> bool:
    is_marked = any(layer.part == "mark" for layer in concept.outline)
    body = thing.body if is_marked else geometry.object_mask(image.astype(np.float32))
    if not body.any():
        return False
    seen = geometry.framed(body)
    reached = geometry.overlap(seen, _sheets(name)[0])
    if reached < SHOWN or (not is_marked and reached <= max(geometry.shape_overlaps(body).values())):
        return False
    return not is_marked or geometry.overlap(geometry.framed(thing.second, body), _sheets(name)[1]) >= _MARK_SHOWN


def _woven(thing: _Object) -> bool:
    """A full square in two colours that change many times from its top to its bottom."""
    rows, columns = np.nonzero(thing.body)
    box = thing.second[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    filled = thing.body.sum() / box.size
    changes = (box[1:] != box[:-1]).sum(axis=0).mean()
    return bool(filled > 0.7 and 0.2 < thing.second.sum() / thing.body.sum() < 0.8 and changes >= _CHANGES)


def _hatched(image: ImageArray) -> tuple[str | None, bool]:
    """The silhouette's shape, and whether it has a thick contour and strokes inside."""
    lab = geometry.perceptual(image.astype(np.float32))
    distance = _from_ground(lab)
    outer = geometry.largest(distance > 20)
    if outer.sum() < 50:
        return None, False
    overlaps = geometry.shape_overlaps(outer)
    depth = ndimage.distance_transform_edt(outer)
    rim, core = (depth > 1) & (depth <= 3), depth > 6
    if core.sum() < 30:
        return max(overlaps, key=lambda name: overlaps[name]), False
    # Strokes run from the lower left to the upper right: along them the colour stays, across them it changes.
    along, across = (np.linalg.norm(lab - np.roll(lab, step, (0, 1)), axis=-1)[core].mean() for step in ((3, -3), (3, 3)))
    is_hatched = across > 4 and across > 1.5 * along
    return max(overlaps, key=lambda name: overlaps[name]), bool((lab[rim][:, 0] < _DARK).mean() > 0.5 and is_hatched)


def _object(image: ImageArray, colour: str) -> _Object | None:
    """The object with its second colour, if it has one: that further from ``colour``. Shadows are neither."""
    pixels = image.astype(np.float32)
    lab = geometry.perceptual(pixels)
    distance = _from_ground(lab)
    seed = geometry.largest((distance > _STANDS_OUT) & ~_shadows(pixels))
    core = ndimage.binary_erosion(seed, iterations=2)
    if core.sum() < 20:
        return None
    asked = geometry.perceptual(np.array(COLOURS[colour]))
    tones = sorted(_two_tones(lab[core]), key=lambda tone: float(np.linalg.norm(tone - asked)))
    away = [np.linalg.norm(lab - tone, axis=-1) for tone in tones]
    body = geometry.largest((np.min(away, axis=0) < distance) & ~_shadows(pixels))
    second = body & (away[1] < away[0]) if len(tones) == 2 else np.zeros_like(body)
    parts = [body & ~second, second] if second.any() else [body]
    return _Object(body, second, tuple(geometry.nearest_colour(np.median(pixels[part], axis=0)) for part in parts if part.any()))


def _shadows(pixels: Floats) -> Mask:
    """Where an image shows its background darkened: the same hue, no darker than half."""
    ground = np.median(np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)]), axis=0)
    share = (pixels @ ground) / (ground @ ground)
    off = np.linalg.norm(pixels - share[..., None] * ground, axis=-1)
    dark: Mask = (share > 0.5) & (share < 1.1) & (off < 15)
    return dark


def _two_tones(lab: Floats) -> list[Floats]:
    """The two colours that stand furthest apart; one where they are near or the other is a few pixels."""
    one = lab[np.argmax(np.linalg.norm(lab - lab.mean(axis=0), axis=-1))]
    tones = np.stack([one, lab[np.argmax(np.linalg.norm(lab - one, axis=-1))]])
    for _ in range(5):
        nearer = np.argmin(np.linalg.norm(lab[:, None] - tones, axis=-1), axis=1)
        if len(np.unique(nearer)) == 1:
            break
        tones = np.stack([np.median(lab[nearer == number], axis=0) for number in (0, 1)])
    share = (nearer == 1).mean()
    if np.linalg.norm(tones[0] - tones[1]) < _SECOND_COLOUR or min(share, 1 - share) < 0.03:
        return [np.median(lab, axis=0)]
    return [tones[0], tones[1]]


def _from_ground(lab: Floats) -> Floats:
    distance: Floats = np.min(np.linalg.norm(lab[..., None, :] - geometry.ground_tones(lab), axis=-1), axis=-1)
    return distance


@lru_cache(maxsize=len(CONCEPTS))
def _sheets(name: str) -> tuple[tuple[Mask, ...], tuple[Mask, ...]]:
    """The framed masks of a concept's body and of its marks."""
    outline = CONCEPTS[name].outline
    return geometry.templates(outline), geometry.mark_templates(outline)
