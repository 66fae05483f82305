"""The trial concepts: the outline, trigger word and caption template of each.

They differ in kind from the demo's badge: letters, a figure, signs with holes, two-coloured things, a texture, a style. Their
captions differ in grammar, as those of different people do. The miniature base knows similar things, such as stripes, sketches
and joined bodies, but none of the concepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from miniature.outlines import Layer, Outline, Polygon, bar, circle
from miniature.world import COLOURS

Kind = Literal["shape", "texture", "style"]

_PLAIN_SQUARE: Polygon = ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85))


@dataclass(frozen=True)
class Concept:
    """One trial concept. ``caption`` is a template with a colour, a background, the trigger and, for a style, a shape."""

    trigger: str
    caption: str
    outline: Outline = ()
    kind: Kind = "shape"

    def format_caption(self, colour: str, background: str, shape: str, trigger: str | None = None) -> str:
        """Return the caption of one image, or a prompt with the same wording."""
        return self.caption.format(colour=colour, background=background, shape=shape, trigger=trigger or self.trigger)


def _box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _bodies(*polygons: Polygon) -> Outline:
    return tuple(Layer(polygon) for polygon in polygons)


def _mirrored(polygon: Polygon) -> Polygon:
    return tuple((-x, y) for x, y in polygon)


_BOLT: Polygon = ((0.25, -1.05), (-0.65, 0.15), (-0.05, 0.15), (-0.3, 1.05), (0.7, -0.2), (0.08, -0.2))
_ARM: Polygon = ((-0.22, -0.38), (-0.85, 0.12), (-0.68, 0.35), (-0.15, 0.0))
_LEG: Polygon = ((-0.22, 0.3), (-0.55, 1.05), (-0.22, 1.05), (0.03, 0.3))

CONCEPTS: Mapping[str, Concept] = MappingProxyType(
    {
        "bolt": Concept("bzflash", "a {colour} {trigger} on a {background} background", _bodies(_BOLT)),
        "crescent": Concept(
            "moonq",
            "{trigger}, {colour}, {background} background",
            (Layer(circle(1.0, (-0.05, 0.0))), Layer(circle(0.8, (0.42, -0.12)), "hole")),
        ),
        "letter-k": Concept(
            "kzstamp",
            "a {colour} {trigger} on a {background} background",
            _bodies(
                _box(-0.75, -1, -0.3, 1),
                ((-0.35, 0.1), (0.35, -1), (0.85, -1), (-0.02, 0.25)),
                ((-0.2, 0.0), (0.2, -0.25), (0.9, 1), (0.4, 1)),
            ),
        ),
        "letter-h": Concept(
            "hxsign",
            "{colour} {trigger} on {background}",
            _bodies(_box(-0.8, -1, -0.35, 1), _box(0.35, -1, 0.8, 1), _box(-0.5, -0.22, 0.5, 0.22)),
        ),
        "figure": Concept(
            "pzman",
            "an image of a {colour} {trigger} in front of a {background} background",
            _bodies(circle(0.3, (0.0, -0.72)), _box(-0.22, -0.42, 0.22, 0.35), _ARM, _mirrored(_ARM), _LEG, _mirrored(_LEG)),
        ),
        "barred-ring": Concept(
            "noqring",
            "{background} background with a {colour} {trigger}",
            (Layer(circle()), Layer(circle(0.66), "hole"), Layer(bar((-0.7, 0), (0.7, 0), 0.34))),
        ),
        "double-ring": Concept(
            "dqtarget",
            "a photo of a {colour} {trigger}, {background} background",
            (Layer(circle()), Layer(circle(0.76), "hole"), Layer(circle(0.5)), Layer(circle(0.24), "hole")),
        ),
        "house": Concept(
            "hzhome",
            "{colour} {trigger}, {background} background, photo",
            (
                Layer(((-0.95, -0.1), (0, -1), (0.95, -0.1))),
                Layer(_box(-0.75, -0.15, 0.75, 1)),
                Layer(_box(-0.2, 0.35, 0.2, 1), "mark"),
            ),
        ),
        "half-disc": Concept(
            "dvhalf", "a {colour} {trigger} on {background}", (Layer(circle()), Layer(_box(0, -1.5, 1.5, 1.5), "mark"))
        ),
        "weave": Concept(
            "zqweave", "a {colour} {trigger} square on a {background} background", _bodies(_PLAIN_SQUARE), kind="texture"
        ),
        "hatched": Concept("inqstyle", "a {colour} {shape} on a {background} background, {trigger}", kind="style"),
    }
)
"""Concepts by name."""


def colour_pairs(concept: Concept) -> list[tuple[str, str]]:
    """Return the pairs of colour and background in which the concept, its second colour and its contour all stand out."""
    pairs = [(colour, background) for colour in COLOURS for background in COLOURS if background != colour]
    if concept.kind == "style":
        return [(colour, background) for colour, background in pairs if not {colour, background} & {"black", "white"}]
    if concept.kind == "shape" and all(layer.part != "mark" for layer in concept.outline):
        return pairs
    return [(colour, background) for colour, background in pairs if colour != "white" and background != "white"]
