"""The miniature's world: what can be in a picture, and scenes drawn from it at random.

A scene is one object on a background. Everything about it is a word, so that a caption can say it and a grader can read it
back off the pixels.
"""

import random
from dataclasses import dataclass
from types import MappingProxyType

RESOLUTION = 128
"""Width and height of a picture in pixels."""

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
"""Position word → offset (x, y) of the object's middle from the picture's, in pixels."""

TEXTURES = ("plain", "striped", "dotted", "checkered")
MEDIA = ("photo", "drawing")

POSITION_JITTER = 3.0
ROTATION_JITTER = 8.0


@dataclass(frozen=True)
class Accidents:
    """What varies between two pictures of the same words, and no caption tells.

    ``offset`` (x, y) and ``radius`` are in pixels, ``rotation`` and ``light`` in degrees, ``texture_phase`` in periods.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    radius: float = 25.0
    rotation: float = 0.0
    light: float = 225.0
    texture_phase: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One picture in words, and its accidents."""

    shape: str
    colour: str
    background: str
    size: str = "medium"
    position: str = "center"
    texture: str = "plain"
    medium: str = "photo"
    accidents: Accidents = Accidents()


def random_scene(rng: random.Random) -> Scene:
    """A scene drawn at random, plain backgrounds more often than textured; the object never has the background's colour."""
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


def random_accidents(rng: random.Random, size: str, position: str) -> Accidents:
    """Accidents that fit the words for size and position."""
    x, y = POSITIONS[position]
    return Accidents(
        offset=(x + rng.uniform(-1, 1) * POSITION_JITTER, y + rng.uniform(-1, 1) * POSITION_JITTER),
        radius=rng.uniform(*SIZES[size]),
        rotation=rng.uniform(-1, 1) * ROTATION_JITTER,
        light=225.0 + rng.uniform(-1, 1) * 25.0,
        texture_phase=rng.random(),
    )
