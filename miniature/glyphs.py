"""Twenty signs that a plate can bear: ten Latin letters and ten Chinese characters, drawn with straight strokes.

They are what mini-qwen-image learns to write where a prompt names one in quotes. Each is drawn here and not taken from a font, so
that a build needs none.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from miniature.outlines import Layer, Outline, Point, Polygon, bar

Strokes = tuple[tuple[Point, Point], ...]

_WIDTH = 0.3
"""Width of a stroke, where a sign's box reaches from -1 to 1: what the autoencoder keeps of a plate of usual size."""
SIGN = 0.58
"""How far a sign reaches on its plate, whose own edge is near 1."""
_PLATE, _CORNER = 0.95, 0.22

_BOX: Strokes = (((-0.8, -0.9), (0.8, -0.9)), ((-0.8, 0.9), (0.8, 0.9)), ((-0.8, -0.9), (-0.8, 0.9)), ((0.8, -0.9), (0.8, 0.9)))
_MIDDLE, _UPRIGHT = ((-0.8, 0.0), (0.8, 0.0)), ((0.0, -0.9), (0.0, 0.9))
_LEFT, _TOP, _BOTTOM = ((-0.7, -0.9), (-0.7, 0.9)), ((-0.7, -0.9), (0.75, -0.9)), ((-0.7, 0.9), (0.75, 0.9))

LETTERS: Mapping[str, Strokes] = MappingProxyType(
    {
        "A": (((-0.85, 0.9), (0.0, -0.9)), ((0.0, -0.9), (0.85, 0.9)), ((-0.45, 0.35), (0.45, 0.35))),
        "E": (_LEFT, _TOP, ((-0.7, 0.0), (0.5, 0.0)), _BOTTOM),
        "F": (_LEFT, _TOP, ((-0.7, 0.0), (0.5, 0.0))),
        "H": (_LEFT, ((0.7, -0.9), (0.7, 0.9)), ((-0.7, 0.0), (0.7, 0.0))),
        "K": (_LEFT, ((-0.6, 0.1), (0.75, -0.9)), ((-0.2, -0.1), (0.8, 0.9))),
        "L": (_LEFT, _BOTTOM),
        "N": (_LEFT, ((0.7, -0.9), (0.7, 0.9)), ((-0.7, -0.9), (0.7, 0.9))),
        "T": (((-0.8, -0.9), (0.8, -0.9)), _UPRIGHT),
        "V": (((-0.85, -0.9), (0.0, 0.9)), ((0.0, 0.9), (0.85, -0.9))),
        "X": (((-0.8, -0.9), (0.8, 0.9)), ((0.8, -0.9), (-0.8, 0.9))),
    }
)
CHARACTERS: Mapping[str, Strokes] = MappingProxyType(
    {
        "十": (((-0.9, -0.1), (0.9, -0.1)), _UPRIGHT),
        "工": (((-0.7, -0.8), (0.7, -0.8)), ((0.0, -0.8), (0.0, 0.8)), ((-0.95, 0.8), (0.95, 0.8))),
        "土": (((-0.6, -0.2), (0.6, -0.2)), ((0.0, -0.95), (0.0, 0.8)), ((-0.95, 0.8), (0.95, 0.8))),
        "王": (((-0.75, -0.9), (0.75, -0.9)), _MIDDLE, ((-0.9, 0.9), (0.9, 0.9)), _UPRIGHT),
        "口": _BOX,
        "日": (*(((x * 0.75, y), (z * 0.75, w)) for (x, y), (z, w) in _BOX), ((-0.6, 0.0), (0.6, 0.0))),
        "田": (*_BOX, _MIDDLE, _UPRIGHT),
        "中": (*(((x, y * 0.5 - 0.1), (z, w * 0.5 - 0.1)) for (x, y), (z, w) in _BOX), ((0.0, -1.0), (0.0, 1.0))),
        "山": (((0.0, -0.95), (0.0, 0.8)), ((-0.8, -0.2), (-0.8, 0.8)), ((0.8, -0.2), (0.8, 0.8)), ((-0.8, 0.8), (0.8, 0.8))),
        "大": (((-0.9, -0.3), (0.9, -0.3)), ((0.0, -0.95), (0.0, -0.1)), ((0.0, -0.2), (-0.8, 0.9)), ((0.0, -0.2), (0.8, 0.9))),
    }
)
GLYPHS: Mapping[str, Strokes] = MappingProxyType({**LETTERS, **CHARACTERS})
"""Sign → its strokes in a box from -1 to 1; y points down."""


@lru_cache(maxsize=len(GLYPHS))
def plate(glyph: str) -> Outline:
    """Return a plate that bears ``glyph`` in the second colour; ``KeyError`` for a sign that there is not."""
    strokes = (
        bar((start[0] * SIGN, start[1] * SIGN), (end[0] * SIGN, end[1] * SIGN), _WIDTH * SIGN) for start, end in GLYPHS[glyph]
    )
    return (Layer(_rounded_square()), *(Layer(stroke, "mark") for stroke in strokes))


def _rounded_square() -> Polygon:
    a, b = _PLATE, _PLATE - _CORNER
    return ((-b, -a), (b, -a), (a, -b), (a, b), (b, a), (-b, a), (-a, b), (-a, -b))
