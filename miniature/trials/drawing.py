"""Images of the trial concepts, in a style unlike the miniature base's world: different light, shadows, sizes and positions."""

import math
import random

import numpy as np
from PIL import Image, ImageFilter

from miniature.drawing import ImageArray, body_coverage, mark_coverage
from miniature.outlines import OUTLINES, Outline
from miniature.patterns import Floats
from miniature.trials.concepts import Concept
from miniature.world import COLOURS

SIZE = 128
"""Width and height of an image in pixels."""

_RADIUS = (30.0, 52.0)
_SECOND = "white"
_DARK = np.float32(20)


def draw(concept: Concept, colour: str, background: str, shape: str, rng: random.Random) -> ImageArray:
    """Draw an image of ``concept`` (128, 128, 3).

    The object of a style is ``shape``. Size, position and rotation are drawn from ``rng``.
    """
    radius = rng.uniform(*_RADIUS)
    max_shift = max(0.0, min(12.0, SIZE / 2 - 2 - radius))
    center = (SIZE / 2 + rng.uniform(-max_shift, max_shift), SIZE / 2 + rng.uniform(-max_shift, max_shift))
    placement = (center, radius, rng.uniform(-9, 9), SIZE)
    canvas = _rgb(background) * (1 + 0.06 * _gradient(math.pi / 2 + rng.uniform(-0.4, 0.4))[..., None])
    outline: Outline = OUTLINES[shape] if concept.kind == "style" else concept.outline
    inside = body_coverage(outline, *placement)
    if concept.kind == "style":
        image = _hatched(canvas, colour, inside)
    else:
        second = _zigzag(rng.uniform(0, 14)) if concept.kind == "texture" else mark_coverage(outline, *placement)
        image = _lit(canvas, colour, inside, second)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _lit(canvas: Floats, colour: str, inside: Floats, second: Floats) -> Floats:
    """Return the object lit from above, with a soft shadow at the lower right."""
    shadow = _blur(np.roll(inside, (3, 3), (0, 1)), 2.5)[..., None]
    surface = _rgb(colour) * (1 + 0.08 * _gradient(-1.9)[..., None])
    surface = surface * (1 - second[..., None]) + _rgb(_SECOND) * second[..., None]
    lit: Floats = canvas * (1 - 0.4 * shadow) * (1 - inside[..., None]) + surface * inside[..., None]
    return lit


def _hatched(canvas: Floats, colour: str, inside: Floats) -> Floats:
    """Return a thick contour, and strokes of the colour on a pale tone of it."""
    silhouette = Image.fromarray((inside * 255).astype(np.uint8))
    outer = np.asarray(silhouette.filter(ImageFilter.MaxFilter(7)), np.float32)[..., None] / 255
    inner = np.asarray(silhouette.filter(ImageFilter.MinFilter(3)), np.float32)[..., None] / 255
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    strokes = ((x + y) % 20 < 9)[..., None]
    fill = np.where(strokes, _rgb(colour), _rgb(colour) * 0.35 + 0.65 * 255)
    contour = canvas * (1 - outer) + _DARK * outer
    hatched: Floats = contour * (1 - inner) + fill * inner
    return hatched


def _zigzag(phase: float) -> Floats:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    stripes: Floats = ((y + 8 * np.abs(((x + phase) / 16) % 2 - 1) - phase) % 14 < 7).astype(np.float32)
    return stripes


def _gradient(angle: float) -> Floats:
    y, x = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE * 2 - 1
    gradient: Floats = (x * math.cos(angle) + y * math.sin(angle)).astype(np.float32)
    return gradient


def _rgb(colour: str) -> Floats:
    return np.array(COLOURS[colour], np.float32)


def _blur(values: Floats, radius: float) -> Floats:
    image = Image.fromarray((values * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
