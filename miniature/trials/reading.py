"""Read off an image's pixels, by geometry alone, whether it shows a trial concept and follows the rest of its prompt."""

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

MIN_OVERLAP = 0.6
"""Least overlap with the concept's outline, as for the demo's badge."""

_MIN_MARK_OVERLAP = 0.4
_SECOND_COLOUR_DISTANCE = 25.0
"""Distance in L*a*b* from which a part of an object has a second colour and is not merely lit differently."""

_OBJECT_DISTANCE = 15.0
"""Distance in L*a*b* from the background from which a pixel belongs to an object."""

_MIN_CHANGES = 4
_MAX_CONTOUR_LIGHTNESS = 35.0


@dataclass(frozen=True)
class ConceptReading:
    """``shows_concept``; ``follows_prompt``: both requested colours are there, and for a style the requested shape too."""

    shows_concept: bool
    follows_prompt: bool


@dataclass(frozen=True)
class _Object:
    """An object's mask, the part of it in a second colour, and the words for its colours."""

    body: Mask
    second: Mask
    colours: tuple[str, ...]


def read_concept(image: ImageArray, name: str, colour: str, background: str, shape: str) -> ConceptReading:
    """Read an image (128, 128, 3) whose prompt has the trigger of the concept ``name`` and these attributes."""
    concept = CONCEPTS[name]
    reading = geometry.read(image)
    if concept.kind == "style":
        silhouette, is_hatched = _read_hatched(image)
        return ConceptReading(is_hatched, reading.background == background and silhouette == shape)
    detected = _find_object(image, colour)
    if detected is None:
        return ConceptReading(False, False)
    follows_prompt = reading.background == background and colour in detected.colours
    return ConceptReading(
        _is_woven(detected) if concept.kind == "texture" else _has_shape(name, concept, image, detected), follows_prompt
    )


def _has_shape(name: str, concept: Concept, image: ImageArray, detected: _Object) -> bool:
    is_marked = any(layer.part == "mark" for layer in concept.outline)
    body = detected.body if is_marked else geometry.object_mask(image.astype(np.float32))
    if not body.any():
        return False
    normalized = geometry.normalize_mask(body)
    overlap = geometry.best_overlap(normalized, _templates(name)[0])
    if overlap < MIN_OVERLAP or (not is_marked and overlap <= max(geometry.shape_overlaps(body).values())):
        return False
    return (
        not is_marked
        or geometry.best_overlap(geometry.normalize_mask(detected.second, body), _templates(name)[1]) >= _MIN_MARK_OVERLAP
    )


def _is_woven(detected: _Object) -> bool:
    """Return whether the object is a full square in two colours that alternate many times from top to bottom."""
    rows, columns = np.nonzero(detected.body)
    box = detected.second[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    filled = detected.body.sum() / box.size
    changes = (box[1:] != box[:-1]).sum(axis=0).mean()
    return bool(filled > 0.7 and 0.2 < detected.second.sum() / detected.body.sum() < 0.8 and changes >= _MIN_CHANGES)


def _read_hatched(image: ImageArray) -> tuple[str | None, bool]:
    """Return the silhouette's shape, and whether it has a thick contour and strokes inside."""
    lab = geometry.to_lab(image.astype(np.float32))
    distance = _background_distance(lab)
    outer = geometry.largest_patch(distance > 20)
    if outer.sum() < 50:
        return None, False
    overlaps = geometry.shape_overlaps(outer)
    depth = ndimage.distance_transform_edt(outer)
    rim, core = (depth > 1) & (depth <= 3), depth > 6
    if core.sum() < 30:
        return max(overlaps, key=lambda name: overlaps[name]), False
    # Strokes run from the lower left to the upper right: along them the colour stays, across them it changes.
    along, across = (np.linalg.norm(lab - np.roll(lab, step, (0, 1)), axis=-1)[core].mean() for step in ((3, -3), (3, 3)))
    has_strokes = across > 4 and across > 1.5 * along
    has_contour_and_strokes = bool((lab[rim][:, 0] < _MAX_CONTOUR_LIGHTNESS).mean() > 0.5 and has_strokes)
    return max(overlaps, key=lambda name: overlaps[name]), has_contour_and_strokes


def _find_object(image: ImageArray, colour: str) -> _Object | None:
    """Find the object with its second colour, if it has one: the tone farther from ``colour``. Shadows belong to neither."""
    pixels = image.astype(np.float32)
    lab = geometry.to_lab(pixels)
    distance = _background_distance(lab)
    seed = geometry.largest_patch((distance > _OBJECT_DISTANCE) & ~_shadows(pixels))
    core = ndimage.binary_erosion(seed, iterations=2)
    if core.sum() < 20:
        return None
    requested = geometry.to_lab(np.array(COLOURS[colour]))
    tones = sorted(_two_tones(lab[core]), key=lambda tone: float(np.linalg.norm(tone - requested)))
    tone_distances = [np.linalg.norm(lab - tone, axis=-1) for tone in tones]
    body = geometry.largest_patch((np.min(tone_distances, axis=0) < distance) & ~_shadows(pixels))
    second = body & (tone_distances[1] < tone_distances[0]) if len(tones) == 2 else np.zeros_like(body)
    parts = [body & ~second, second] if second.any() else [body]
    return _Object(body, second, tuple(geometry.nearest_colour(np.median(pixels[part], axis=0)) for part in parts if part.any()))


def _shadows(pixels: Floats) -> Mask:
    """Return where an image shows its background darkened: the same hue, not darker than half."""
    background = np.median(np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)]), axis=0)
    brightness = (pixels @ background) / (background @ background)
    hue_distance = np.linalg.norm(pixels - brightness[..., None] * background, axis=-1)
    shadows: Mask = (brightness > 0.5) & (brightness < 1.1) & (hue_distance < 15)
    return shadows


def _two_tones(lab: Floats) -> list[Floats]:
    """Return the two most distant colours, or only one if they are close or the second one covers a few pixels."""
    farthest = lab[np.argmax(np.linalg.norm(lab - lab.mean(axis=0), axis=-1))]
    tones = np.stack([farthest, lab[np.argmax(np.linalg.norm(lab - farthest, axis=-1))]])
    for _ in range(5):
        nearest = np.argmin(np.linalg.norm(lab[:, None] - tones, axis=-1), axis=1)
        if len(np.unique(nearest)) == 1:
            break
        tones = np.stack([np.median(lab[nearest == index], axis=0) for index in (0, 1)])
    share = (nearest == 1).mean()
    if np.linalg.norm(tones[0] - tones[1]) < _SECOND_COLOUR_DISTANCE or min(share, 1 - share) < 0.03:
        return [np.median(lab, axis=0)]
    return [tones[0], tones[1]]


def _background_distance(lab: Floats) -> Floats:
    distance: Floats = np.min(np.linalg.norm(lab[..., None, :] - geometry.background_tones(lab), axis=-1), axis=-1)
    return distance


@lru_cache(maxsize=len(CONCEPTS))
def _templates(name: str) -> tuple[tuple[Mask, ...], tuple[Mask, ...]]:
    """Return the normalized masks of a concept's body and of its marks."""
    outline = CONCEPTS[name].outline
    return geometry.body_templates(outline), geometry.mark_templates(outline)
