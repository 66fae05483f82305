"""The miniature's world: what an image can show, and scenes drawn from it at random.

A scene is one object on a background. Each attribute of it is a word, so that a caption can state it and a grader can read it
off the pixels. ``random_scene`` draws from the plain world in which the base is graded; ``wide_scene`` from everything that the
base learns: shapes with invented names, any size, patterned objects, more styles.
"""

import random
from dataclasses import dataclass, replace
from types import MappingProxyType

RESOLUTION = 128
"""Width and height of an image in pixels."""

COLOURS = MappingProxyType(
    {
        "red": (220, 38, 38),
        "orange": (245, 135, 25),
        "yellow": (248, 212, 45),
        "green": (40, 158, 68),
        "cyan": (62, 202, 214),
        "blue": (35, 85, 220),
        "purple": (122, 48, 178),
        "pink": (243, 138, 184),
        "white": (244, 244, 244),
        "black": (30, 30, 30),
    }
)
"""Colour word → sRGB, 0 … 255."""

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring")

SIZES = MappingProxyType({"small": (15.0, 18.0), "medium": (23.0, 27.0), "large": (32.0, 36.0)})
"""Size word → range of the object's radius in pixels."""

POSITIONS = MappingProxyType(
    {"center": (0.0, 0.0), "left": (-26.0, 0.0), "right": (26.0, 0.0), "top": (0.0, -26.0), "bottom": (0.0, 26.0)}
)
"""Position word → offset (x, y) of the object's center from the image's, in pixels."""

TEXTURES = ("plain", "striped", "dotted", "checkered")
"""Patterns of the background, in two tones of its colour."""

FILLS = (*TEXTURES, "wavy", "halved", "bordered")
"""Patterns of the object, in its colour and a second one."""

MEDIA = ("photo", "drawing")
STYLES = (*MEDIA, "poster", "sketch", "sticker", "stencil")
"""Ways to draw an image; the base is graded in the first two."""

_WIDE_SIZES = MappingProxyType({"small": (14.0, 20.0), "medium": (20.0, 29.0), "large": (29.0, 52.0)})
_POSITION_CLEARANCE = 28.0
_PATTERNED_SHARE = 0.3

POSITION_JITTER = 3.0
ROTATION_JITTER = 8.0


@dataclass(frozen=True)
class Accidents:
    """What varies between two images with the same words and is stated by no caption.

    ``offset`` (x, y) and ``radius`` are in pixels, ``rotation`` and ``light`` in degrees, ``texture_phase`` in periods.
    ``fill_angle`` and ``fill_period`` of an object's pattern are in degrees and pixels. ``shade`` multiplies the object's colour.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    radius: float = 25.0
    rotation: float = 0.0
    light: float = 225.0
    texture_phase: float = 0.0
    fill_angle: float = 45.0
    fill_period: float = 12.0
    shade: float = 1.0


@dataclass(frozen=True)
class Scene:
    """One image in words, and its accidents.

    ``shape`` is a shape of the world or any other word, which then has its own outline. ``second`` is the colour of the object's
    pattern and of the marks of its outline.
    """

    shape: str
    colour: str
    background: str
    size: str = "medium"
    position: str = "center"
    texture: str = "plain"
    medium: str = "photo"
    fill: str = "plain"
    second: str = "white"
    accidents: Accidents = Accidents()


def random_scene(rng: random.Random) -> Scene:
    """Return a random scene, plain backgrounds more often than textured; the object never has the background's colour."""
    colour, background = rng.sample(list(COLOURS), 2)
    size = rng.choice(list(SIZES))
    position = rng.choice(list(POSITIONS))
    return Scene(
        shape=rng.choice(SHAPES),
        colour=colour,
        background=background,
        size=size,
        position=position,
        texture=rng.choices(TEXTURES, weights=(5, 1, 1, 1))[0],
        medium=rng.choice(MEDIA),
        accidents=random_accidents(rng, size, position),
    )


def wide_scene(rng: random.Random, shape: str) -> Scene:
    """Return a random scene with ``shape`` in it, drawn from everything that the base learns."""
    colour, background, second = rng.sample(list(COLOURS), 3)
    size = rng.choices(list(_WIDE_SIZES), weights=(1, 2, 4))[0]
    radius = rng.uniform(*_WIDE_SIZES[size])
    position = rng.choice(list(POSITIONS)) if radius + _POSITION_CLEARANCE < RESOLUTION / 2 else "center"
    accidents = random_accidents(rng, size, position)
    max_shift = max(0.0, min(12.0, RESOLUTION / 2 - 2 - radius)) if position == "center" else POSITION_JITTER
    x, y = POSITIONS[position]
    return Scene(
        shape=shape,
        colour=colour,
        background=background,
        size=size,
        position=position,
        texture=rng.choices(TEXTURES, weights=(9, 1, 1, 1))[0],
        medium=rng.choices(STYLES, weights=(4, 2, 1, 1, 1, 1))[0],
        fill=rng.choice(FILLS[1:]) if rng.random() < _PATTERNED_SHARE else "plain",
        second=second if rng.random() < 0.5 else contrasting_colour(colour),
        accidents=replace(
            accidents,
            offset=(x + rng.uniform(-max_shift, max_shift), y + rng.uniform(-max_shift, max_shift)),
            radius=radius,
            fill_angle=rng.choice((0.0, 45.0, 90.0, 135.0, rng.uniform(0, 180))),
            fill_period=rng.uniform(8, 20),
            shade=rng.uniform(0.9, 1.06),
        ),
    )


def contrasting_colour(colour: str) -> str:
    """Return white for a dark colour, black for a light one."""
    return "black" if sum(COLOURS[colour]) > 620 else "white"


def random_accidents(rng: random.Random, size: str, position: str) -> Accidents:
    """Return random accidents that fit the words for size and position."""
    x, y = POSITIONS[position]
    return Accidents(
        offset=(x + rng.uniform(-1, 1) * POSITION_JITTER, y + rng.uniform(-1, 1) * POSITION_JITTER),
        radius=rng.uniform(*SIZES[size]),
        rotation=rng.uniform(-1, 1) * ROTATION_JITTER,
        light=225.0 + rng.uniform(-1, 1) * 25.0,
        texture_phase=rng.random(),
    )
