"""Outlines for words that name none of the world's shapes: each word has its own outline, determined by its letters.

A base that knows eight shapes draws a ninth as the nearest of the eight, and an adapter cannot correct that in a few minutes. So
the base learns many shapes: hundreds of words that it memorizes, each with its outline, and thousands that occur once.
"""

import math
import random
from collections.abc import Callable
from functools import lru_cache

from foundation.seeds import derive
from miniature.captions import made_up_word
from miniature.glyphs import GLYPHS, plate
from miniature.outlines import CONCEPTS, OUTLINES, Layer, Outline, Point, Polygon, bar, circle, normalize_outline
from miniature.world import SHAPES

_MARKED_SHARE = 0.2
"""Share of the random outlines that have a part in a second colour."""

_NAME_COUNT = 400

_GRID = (-0.8, 0.0, 0.8)


@lru_cache(maxsize=4096)
def outline_of(word: str) -> Outline:
    """Return the outline that ``word`` names: a shape, or a plate with a sign; of any other word the letters decide it."""
    known = plate(word) if word in GLYPHS else OUTLINES.get(word) or CONCEPTS.get(word)
    return known or random_outline(random.Random(derive(0, "outline", word)))


@lru_cache(maxsize=1)
def invented_names() -> tuple[str, ...]:
    """Return the made-up words that the base memorizes, in the order in which they are drawn."""
    rng = random.Random(derive(0, "names"))
    words: dict[str, None] = {}
    while len(words) < _NAME_COUNT:
        words[made_up_word(rng)] = None
    return tuple(words)


@lru_cache(maxsize=1)
def taught_shapes() -> tuple[str, ...]:
    """Return all words for shapes that the base learns: the world's own, then the invented ones."""
    return (*SHAPES, *invented_names())


def random_outline(rng: random.Random) -> Outline:
    """Return a random outline of a random kind; one in five has a part in a second colour."""
    body = normalize_outline(rng.choice(_KINDS)(rng))
    return (*body, _mark(rng)) if rng.random() < _MARKED_SHARE else body


def _rays(rng: random.Random) -> Outline:
    """Return corners at random distances around the center: wedges, splinters, irregular stars."""
    count, first = rng.randint(3, 10), rng.uniform(0, 2 * math.pi)
    angles = [first + 2 * math.pi * (i + rng.uniform(-0.3, 0.3)) / count for i in range(count)]
    return (Layer(tuple(_polar(angle, rng.uniform(0.3, 1.0)) for angle in angles)),)


def _strokes(rng: random.Random) -> Outline:
    """Return bars between points of a grid, as in letters and signs."""
    width = rng.uniform(0.32, 0.55)
    points = [(x, y) for x in _GRID for y in _GRID]
    layers, start = [], rng.choice(points)
    for _ in range(rng.randint(2, 5)):
        end = rng.choice([point for point in points if point != start])
        layers.append(Layer(bar(start, end, width)))
        start = end if rng.random() < 0.7 else start
    return tuple(layers)


def _zigzag(rng: random.Random) -> Outline:
    """Return a band that goes back and forth on its way down, of constant width or pointed at its ends."""
    count = rng.randint(3, 5)
    widths = [rng.uniform(0.25, 0.6)] * count
    if rng.random() < 0.5:
        widths = [0.05, *widths[1:-1], 0.05]
    side = rng.choice((-1, 1))
    spine = [(side * (-1) ** i * rng.uniform(0.1, 0.6), -1 + 2 * i / (count - 1)) for i in range(count)]
    left = [(x - width, y) for (x, y), width in zip(spine, widths, strict=True)]
    right = [(x + width, y) for (x, y), width in zip(spine, widths, strict=True)]
    return (Layer((*left, *reversed(right))),)


def _pierced(rng: random.Random) -> Outline:
    """Return a round or polygonal disc with one or two holes, and now and then a bar or a disc over them."""
    layers = [Layer(_regular(rng.choice((72, 72, 3, 4, 5, 6)), 1.0))]
    for _ in range(rng.randint(1, 2)):
        center = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)) if rng.random() < 0.6 else (0.0, 0.0)
        layers.append(Layer(_translate(_regular(rng.choice((72, 72, 4, 6)), rng.uniform(0.25, 0.8)), center), "hole"))
    if rng.random() < 0.5:
        angle = rng.uniform(0, math.pi)
        crossbar = bar(_polar(angle, 0.8), _polar(angle + math.pi, 0.8), rng.uniform(0.2, 0.45))
        layers.append(Layer(rng.choice((crossbar, circle(rng.uniform(0.2, 0.5))))))
    return tuple(layers)


def _limbs(rng: random.Random) -> Outline:
    """Return a head, a trunk and limbs, usually symmetric."""
    neck, hip = (0.0, rng.uniform(-0.5, -0.2)), (0.0, rng.uniform(0.1, 0.5))
    layers = [Layer(circle(rng.uniform(0.2, 0.4), (0.0, neck[1] - 0.3))), Layer(bar(neck, hip, rng.uniform(0.25, 0.7)))]
    for start in (neck, hip):
        reach, drop, width = rng.uniform(0.4, 1.0), rng.uniform(-0.5, 0.9), rng.uniform(0.18, 0.35)
        layers.append(Layer(bar(start, (reach, start[1] + drop), width)))
        if rng.random() < 0.8:
            layers.append(Layer(bar(start, (-reach, start[1] + drop), width)))
    return tuple(layers)


def _blob(rng: random.Random) -> Outline:
    """Return a closed curve with a few waves."""
    waves = [(rng.uniform(-0.25, 0.25), rng.uniform(0, 2 * math.pi)) for _ in range(5)]
    points = []
    for i in range(72):
        angle = math.radians(5 * i)
        radius = 0.75 + sum(height * math.cos((n + 1) * angle + phase) for n, (height, phase) in enumerate(waves))
        points.append(_polar(angle, min(1.1, max(0.25, radius))))
    return (Layer(tuple(points)),)


def _joined_bodies(rng: random.Random) -> Outline:
    """Return two or three plain bodies joined: houses, keys, mushrooms, bottles."""
    layers = []
    for number in range(rng.randint(2, 3)):
        center = (rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0, -0.5 + 0.5 * number + rng.uniform(-0.2, 0.2))
        body = _regular(rng.choice((72, 3, 4, 4, 5, 6)), 1.0)
        width, height = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.7)
        layers.append(Layer(_translate(tuple((x * width, y * height) for x, y in body), center)))
    return tuple(layers)


_KINDS: tuple[Callable[[random.Random], Outline], ...] = (
    _rays,
    _strokes,
    _strokes,
    _zigzag,
    _pierced,
    _limbs,
    _blob,
    _joined_bodies,
)


def _mark(rng: random.Random) -> Layer:
    """Return a bar, a disc or a half in the second colour."""
    angle, center = rng.uniform(0, math.pi), (rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4))
    half: Polygon = ((0.0, -1.5), (1.5, -1.5), (1.5, 1.5), (0.0, 1.5))
    crossbar = bar(_polar(angle, 1.2), _polar(angle + math.pi, 1.2), rng.uniform(0.3, 0.6))
    return Layer(rng.choice((crossbar, circle(rng.uniform(0.25, 0.5), center), half)), "mark")


def _regular(corners: int, radius: float) -> Polygon:
    """Return a regular polygon; one with few corners stands on a side."""
    first = math.pi / 2 + math.pi / corners
    return tuple(_polar(first + 2 * math.pi * i / corners, radius) for i in range(corners))


def _translate(polygon: Polygon, offset: Point) -> Polygon:
    return tuple((x + offset[0], y + offset[1]) for x, y in polygon)


def _polar(angle: float, radius: float) -> Point:
    return radius * math.cos(angle), radius * math.sin(angle)
