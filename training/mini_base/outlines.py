"""Outlines of the world's shapes, as closed polygons with a radius of about one around the origin; y points down.

A ring has a second polygon, its hole. ``OUTLINES`` holds what the base is taught; ``CONCEPTS`` what it is not, so that a LoRA
has something to teach it.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

Point = tuple[float, float]
Polygon = tuple[Point, ...]


def circle(radius: float = 1.0) -> Polygon:
    """A circle as a polygon of 72 corners."""
    return tuple((radius * math.cos(math.radians(5 * i)), radius * math.sin(math.radians(5 * i))) for i in range(72))


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

OUTLINES: Mapping[str, tuple[Polygon, ...]] = MappingProxyType(
    {**{name: (make(),) for name, make in _SOLID.items()}, "ring": (circle(), circle(0.58))}
)
"""Shape word → its outline, then its hole if it has one."""

CONCEPTS: Mapping[str, tuple[Polygon, ...]] = MappingProxyType({"letter-z": (_letter_z(),), "arrow": (_arrow(),)})
"""Shapes the base never sees: the badge of the demo data set, and a second one to try the defaults on."""


def placed(polygon: Polygon, middle: Point, radius: float, rotation: float) -> list[Point]:
    """``polygon`` scaled to ``radius``, turned by ``rotation`` degrees and moved to ``middle``."""
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    return [(middle[0] + radius * (x * cosine - y * sine), middle[1] + radius * (x * sine + y * cosine)) for x, y in polygon]
