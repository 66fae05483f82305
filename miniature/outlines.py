"""Outlines of the world's shapes, as closed polygons with a radius of about one around the origin; y points down.

``OUTLINES`` holds the shapes that the base learns by name and is graded on; ``CONCEPTS`` holds shapes that it never sees, so that
a LoRA has something to teach it. Any other word has its own outline too (``miniature/invention.py``).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Point = tuple[float, float]
Polygon = tuple[Point, ...]


@dataclass(frozen=True)
class Layer:
    """One polygon of an outline, drawn over those before it: a body, a hole in the bodies, or a mark in the second colour."""

    polygon: Polygon
    part: Literal["body", "hole", "mark"] = "body"


Outline = tuple[Layer, ...]


def circle(radius: float = 1.0, center: Point = (0.0, 0.0)) -> Polygon:
    """Return a circle as a polygon of 72 corners."""
    angles = [math.radians(5 * i) for i in range(72)]
    return tuple((center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)) for angle in angles)


def _square() -> Polygon:
    return ((-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86))


def _triangle() -> Polygon:
    return ((0.0, -0.95), (1.0, 0.8), (-1.0, 0.8))


def _star() -> Polygon:
    radii = (1.08, 0.45)
    return tuple(
        (radii[i % 2] * math.sin(math.radians(36 * i)), -radii[i % 2] * math.cos(math.radians(36 * i)) + 0.06) for i in range(10)
    )


def _heart() -> Polygon:
    points = []
    for i in range(72):
        t = math.radians(5 * i)
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16, -(y + 2.5) / 16))
    return tuple(points)


def _diamond() -> Polygon:
    return ((0.0, -1.1), (0.66, 0.0), (0.0, 1.1), (-0.66, 0.0))


def _cross() -> Polygon:
    a, b = 0.34, 0.98
    return ((-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a))


def _letter_z() -> Polygon:
    w, h, bar = 0.9, 0.92, 0.42
    return (
        (-w, -h), (w, -h), (w, -h + bar), (-w + 0.72, h - bar), (w, h - bar),
        (w, h), (-w, h), (-w, h - bar), (w - 0.72, -h + bar), (-w, -h + bar),
    )  # fmt: skip


def _arrow() -> Polygon:
    return ((-0.98, -0.3), (0.05, -0.3), (0.05, -0.85), (1.0, 0.0), (0.05, 0.85), (0.05, 0.3), (-0.98, 0.3))


_SOLID: Mapping[str, Callable[[], Polygon]] = MappingProxyType(
    {
        "circle": circle,
        "square": _square,
        "triangle": _triangle,
        "star": _star,
        "heart": _heart,
        "diamond": _diamond,
        "cross": _cross,
    }
)

OUTLINES: Mapping[str, Outline] = MappingProxyType(
    {**{name: (Layer(polygon()),) for name, polygon in _SOLID.items()}, "ring": (Layer(circle()), Layer(circle(0.58), "hole"))}
)
"""Shape word → its outline."""

CONCEPTS: Mapping[str, Outline] = MappingProxyType({"letter-z": (Layer(_letter_z()),), "arrow": (Layer(_arrow()),)})
"""Shapes that the base never sees: the badge of the demo data set, and a second one to try the defaults on."""


def bar(start: Point, end: Point, width: float) -> Polygon:
    """Return a bar of ``width`` from ``start`` to ``end``, with square ends that reach half a width beyond both."""
    length = math.dist(start, end) or 1.0
    x, y = (end[0] - start[0]) / length * width / 2, (end[1] - start[1]) / length * width / 2
    return (
        (start[0] - x - y, start[1] - y + x),
        (start[0] - x + y, start[1] - y - x),
        (end[0] + x + y, end[1] + y - x),
        (end[0] + x - y, end[1] + y + x),
    )


def normalize_outline(outline: Outline) -> Outline:
    """Return ``outline`` moved and scaled so that the longer side of its body's bounding box goes from -1 to 1."""
    points = [point for layer in outline if layer.part == "body" for point in layer.polygon]
    lows, highs = ([extreme(axis) for axis in zip(*points, strict=True)] for extreme in (min, max))
    center = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    reach = max(high - low for low, high in zip(lows, highs, strict=True)) / 2
    return tuple(
        Layer(tuple(((x - center[0]) / reach, (y - center[1]) / reach) for x, y in layer.polygon), layer.part)
        for layer in outline
    )


def transform(polygon: Polygon, center: Point, radius: float, rotation: float) -> list[Point]:
    """Return ``polygon`` scaled to ``radius``, rotated by ``rotation`` degrees and moved to ``center``."""
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    return [(center[0] + radius * (x * cosine - y * sine), center[1] + radius * (x * sine + y * cosine)) for x, y in polygon]
