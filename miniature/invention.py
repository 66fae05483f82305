"""Outlines for words that name none of the world's shapes: each word has one of its own, drawn from the word's letters.

A base that knows eight shapes draws a ninth as the nearest of the eight, and an adapter cannot teach it better in a few minutes.
So it is taught many: some hundred words by heart, each with its outline, and thousands that come once.
"""

import math
import random
from collections.abc import Callable
from functools import lru_cache

from foundation.seeds import derive
from miniature.captions import made_up_word
from miniature.outlines import CONCEPTS, OUTLINES, Layer, Outline, Point, Polygon, bar, circle, fitted
from miniature.world import SHAPES

_MARKED = 0.2
"""Share of the invented outlines that have a part in a second colour."""

_NAMES = 400

_GRID = (-0.8, 0.0, 0.8)


@lru_cache(maxsize=4096)
def outline_of(word: str) -> Outline:
    """The outline that ``word`` names; a word that is no shape of the world has one that nothing but its letters decides."""
    known = OUTLINES.get(word) or CONCEPTS.get(word)
    return known or invented(random.Random(derive(0, "outline", word)))


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The made-up words that the base learns by heart, in the order in which they are drawn."""
    rng = random.Random(derive(0, "names"))
    words: dict[str, None] = {}
    while len(words) < _NAMES:
        words[made_up_word(rng)] = None
    return tuple(words)


@lru_cache(maxsize=1)
def taught() -> tuple[str, ...]:
    """All words for shapes that the base learns: the world's own, then those made up."""
    return (*SHAPES, *names())


def invented(rng: random.Random) -> Outline:
    """A random outline of a random kind; one in five has a part in a second colour."""
    body = fitted(rng.choice(_KINDS)(rng))
    return (*body, _mark(rng)) if rng.random() < _MARKED else body


def _rays(rng: random.Random) -> Outline:
    """Corners at random distances around the middle: wedges, splinters, irregular stars."""
    count, first = rng.randint(3, 10), rng.uniform(0, 2 * math.pi)
    turns = [first + 2 * math.pi * (i + rng.uniform(-0.3, 0.3)) / count for i in range(count)]
    return (Layer(tuple(_polar(turn, rng.uniform(0.3, 1.0)) for turn in turns)),)


def _strokes(rng: random.Random) -> Outline:
    """Bars between points of a grid, as in letters and signs."""
    width = rng.uniform(0.32, 0.55)
    points = [(x, y) for x in _GRID for y in _GRID]
    layers, here = [], rng.choice(points)
    for _ in range(rng.randint(2, 5)):
        there = rng.choice([point for point in points if point != here])
        layers.append(Layer(bar(here, there, width)))
        here = there if rng.random() < 0.7 else here
    return tuple(layers)


def _zigzag(rng: random.Random) -> Outline:
    """A band that goes back and forth on its way down, of one width or pointed at its ends."""
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
    """A round or cornered disc with one or two holes, and now and then something in them."""
    layers = [Layer(_regular(rng.choice((72, 72, 3, 4, 5, 6)), 1.0))]
    for _ in range(rng.randint(1, 2)):
        middle = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)) if rng.random() < 0.6 else (0.0, 0.0)
        layers.append(Layer(_moved(_regular(rng.choice((72, 72, 4, 6)), rng.uniform(0.25, 0.8)), middle), "hole"))
    if rng.random() < 0.5:
        turn = rng.uniform(0, math.pi)
        across = bar(_polar(turn, 0.8), _polar(turn + math.pi, 0.8), rng.uniform(0.2, 0.45))
        layers.append(Layer(rng.choice((across, circle(rng.uniform(0.2, 0.5))))))
    return tuple(layers)


def _limbs(rng: random.Random) -> Outline:
    """A head, a trunk and limbs, alike on both sides more often than not."""
    neck, hip = (0.0, rng.uniform(-0.5, -0.2)), (0.0, rng.uniform(0.1, 0.5))
    layers = [Layer(circle(rng.uniform(0.2, 0.4), (0.0, neck[1] - 0.3))), Layer(bar(neck, hip, rng.uniform(0.25, 0.7)))]
    for start in (neck, hip):
        reach, drop, width = rng.uniform(0.4, 1.0), rng.uniform(-0.5, 0.9), rng.uniform(0.18, 0.35)
        layers.append(Layer(bar(start, (reach, start[1] + drop), width)))
        if rng.random() < 0.8:
            layers.append(Layer(bar(start, (-reach, start[1] + drop), width)))
    return tuple(layers)


def _blob(rng: random.Random) -> Outline:
    """A closed curve with a few waves."""
    waves = [(rng.uniform(-0.25, 0.25), rng.uniform(0, 2 * math.pi)) for _ in range(5)]
    points = []
    for i in range(72):
        turn = math.radians(5 * i)
        radius = 0.75 + sum(height * math.cos((n + 1) * turn + phase) for n, (height, phase) in enumerate(waves))
        points.append(_polar(turn, min(1.1, max(0.25, radius))))
    return (Layer(tuple(points)),)


def _joined(rng: random.Random) -> Outline:
    """Two or three plain bodies joined: houses, keys, mushrooms, bottles."""
    layers = []
    for number in range(rng.randint(2, 3)):
        middle = (rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0, -0.5 + 0.5 * number + rng.uniform(-0.2, 0.2))
        body = _regular(rng.choice((72, 3, 4, 4, 5, 6)), 1.0)
        wide, high = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.7)
        layers.append(Layer(_moved(tuple((x * wide, y * high) for x, y in body), middle)))
    return tuple(layers)


_KINDS: tuple[Callable[[random.Random], Outline], ...] = (
    _rays,
    _strokes,
    _strokes,
    _zigzag,
    _pierced,
    _limbs,
    _blob,
    _joined,
)


def _mark(rng: random.Random) -> Layer:
    """A bar, a disc or a half in the second colour."""
    turn, middle = rng.uniform(0, math.pi), (rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4))
    half: Polygon = ((0.0, -1.5), (1.5, -1.5), (1.5, 1.5), (0.0, 1.5))
    across = bar(_polar(turn, 1.2), _polar(turn + math.pi, 1.2), rng.uniform(0.3, 0.6))
    return Layer(rng.choice((across, circle(rng.uniform(0.25, 0.5), middle), half)), "mark")


def _regular(corners: int, radius: float) -> Polygon:
    """A regular polygon; one of few corners stands on a side."""
    first = math.pi / 2 + math.pi / corners
    return tuple(_polar(first + 2 * math.pi * i / corners, radius) for i in range(corners))


def _moved(polygon: Polygon, by: Point) -> Polygon:
    return tuple((x + by[0], y + by[1]) for x, y in polygon)


def _polar(turn: float, radius: float) -> Point:
    return radius * math.cos(turn), radius * math.sin(turn)
