"""Scenes drawn as pictures: shaded photos with a soft shadow, flat drawings with an outline, plain and textured backgrounds."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.mini_base.outlines import CONCEPTS, OUTLINES, Point, Polygon, placed
from training.mini_base.world import COLOURS, RESOLUTION, Scene

Picture = NDArray[np.uint8]
"""An sRGB picture, (height, width, 3)."""

Floats = NDArray[np.floating[Any]]

_SUPERSAMPLING = 4


def draw(scene: Scene, resolution: int = RESOLUTION) -> Picture:
    """The scene as a picture of ``resolution`` × ``resolution`` pixels."""
    zoom = resolution / RESOLUTION
    outline = {**OUTLINES, **CONCEPTS}[scene.shape]
    middle = (resolution / 2 + scene.accidents.offset[0] * zoom, resolution / 2 + scene.accidents.offset[1] * zoom)
    inside = mask(outline, middle, scene.accidents.radius * zoom, scene.accidents.rotation, resolution)
    canvas = _background(scene, resolution)
    paint = _photo if scene.medium == "photo" else _drawing
    picture = paint(scene, canvas, inside, zoom)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def mask(outline: tuple[Polygon, ...], middle: Point, radius: float, rotation: float, resolution: int) -> Floats:
    """How much of each pixel the outline covers, 0 … 1, (resolution, resolution), without its hole."""
    sheet = Image.new("L", (resolution * _SUPERSAMPLING, resolution * _SUPERSAMPLING), 0)
    pen = ImageDraw.Draw(sheet)
    for ink, polygon in zip((255, 0), outline, strict=False):
        points = placed(polygon, middle, radius, rotation)
        pen.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points], fill=ink)
    reduced = sheet.resize((resolution, resolution), Image.Resampling.BOX)
    return np.asarray(reduced, dtype=np.float32) / 255


def _background(scene: Scene, resolution: int) -> Floats:
    colour = np.array(COLOURS[scene.background], dtype=np.float32)
    pattern = _texture(scene, resolution)[..., None]
    canvas = colour * (1 - pattern) + _other_tone(colour, 0.16) * pattern
    if scene.medium == "photo":
        canvas = canvas * (1 + 0.06 * _ramp(scene.accidents.light, resolution)[..., None])
    return canvas.astype(np.float32)


def _texture(scene: Scene, resolution: int) -> Floats:
    """Where the background shows its second tone, 0 … 1. The period is a quarter of the picture."""
    period = resolution / 4
    y, x = np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5
    x, y = x + scene.accidents.texture_phase * period, y + scene.accidents.texture_phase * period
    if scene.texture == "striped":
        return _edge(np.abs((x + y) / math.sqrt(2) % period - period / 2) - period / 4)
    if scene.texture == "dotted":
        return _edge(period * 0.27 - np.hypot(x % period - period / 2, y % period - period / 2))
    if scene.texture == "checkered":
        return _edge(np.sin(math.pi * x / period) * np.sin(math.pi * y / period) * period / 2)
    return np.zeros((resolution, resolution), dtype=np.float32)


def _photo(scene: Scene, canvas: Floats, inside: Floats, zoom: float) -> Floats:
    shift = (round(3 * zoom), round(2 * zoom))
    shadow = _blurred(np.roll(inside, shift, axis=(0, 1)), 2.5 * zoom)[..., None]
    canvas = canvas * (1 - 0.4 * shadow)
    shading = 1 + 0.13 * _ramp(scene.accidents.light, inside.shape[0])[..., None]
    surface = np.array(COLOURS[scene.colour], dtype=np.float32) * shading
    return canvas * (1 - inside[..., None]) + surface * inside[..., None]


def _drawing(scene: Scene, canvas: Floats, inside: Floats, zoom: float) -> Floats:
    colour = np.array(COLOURS[scene.colour], dtype=np.float32)
    canvas = canvas * (1 - inside[..., None]) + colour * inside[..., None]
    line = np.clip(_blurred(inside, 1.1 * zoom) * (1 - _blurred(inside, 1.1 * zoom)) * 4.4, 0, 1)[..., None]
    return canvas * (1 - line) + _other_tone(colour, 0.6) * line


def _other_tone(colour: Floats, amount: float) -> Floats:
    """``colour`` moved towards black, or towards white where it is dark already."""
    target = 255.0 if colour.mean() < 60 else 0.0
    moved: Floats = colour + (target - colour) * np.float32(amount)
    return moved


def _ramp(angle: float, resolution: int) -> Floats:
    """A slope over the picture from -1 to 1, brightest towards ``angle``."""
    y, x = (np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5) / resolution * 2 - 1
    slope: Floats = (x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))) / math.sqrt(2)
    return slope


def _edge(distance: Floats) -> Floats:
    """A signed distance in pixels as coverage, 0 … 1, one pixel soft."""
    coverage: Floats = np.clip(distance + 0.5, 0, 1)
    return coverage


def _blurred(values: Floats, radius: float) -> Floats:
    sheet = Image.fromarray((values * 255).astype(np.uint8))
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
