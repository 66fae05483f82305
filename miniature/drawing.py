"""Scenes drawn as images: the object's outline, its pattern, the background, and the style of the whole."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from miniature.invention import outline_of
from miniature.outlines import Outline, Point, on_device
from miniature.patterns import Floats, fill, ramp, texture
from miniature.world import COLOURS, RESOLUTION, Scene

ImageArray = NDArray[np.uint8]
"""An sRGB picture, (height, width, 3)."""

_SUPERSAMPLING = 4
_INK = MappingProxyType({"body": 255, "hole": 0})


def draw(scene: Scene, resolution: int = RESOLUTION) -> ImageArray:
    """The scene as a picture of ``resolution`` × ``resolution`` pixels."""
    zoom = resolution / RESOLUTION
    outline = outline_of(scene.shape)
    middle = (resolution / 2 + scene.accidents.offset[0] * zoom, resolution / 2 + scene.accidents.offset[1] * zoom)
    place = (middle, scene.accidents.radius * zoom, scene.accidents.rotation, resolution)
    inside = mask(outline, *place)
    surface = _surface(scene, inside, marks(outline, *place), middle, zoom)
    picture = _STYLES[scene.medium](_Parts(scene, _background(scene, resolution), surface, inside, zoom))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def mask(outline: Outline, middle: Point, radius: float, rotation: float, resolution: int) -> Floats:
    """How much of each pixel the outline covers, 0 … 1, (resolution, resolution), without its holes."""
    inked = [(layer.polygon, _INK[layer.part]) for layer in outline if layer.part in _INK]
    return _drawn(inked, middle, radius, rotation, resolution)


def marks(outline: Outline, middle: Point, radius: float, rotation: float, resolution: int) -> Floats:
    """How much of each pixel the outline's marked parts cover, 0 … 1, (resolution, resolution), beyond its body too."""
    marked = [(layer.polygon, 255) for layer in outline if layer.part == "mark"]
    return _drawn(marked, middle, radius, rotation, resolution)


def _drawn(inked: list[tuple[tuple[Point, ...], int]], middle: Point, radius: float, rotation: float, resolution: int) -> Floats:
    sheet = Image.new("L", (resolution * _SUPERSAMPLING, resolution * _SUPERSAMPLING), 0)
    pen = ImageDraw.Draw(sheet)
    for polygon, ink in inked:
        points = on_device(polygon, middle, radius, rotation)
        pen.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points], fill=ink)
    reduced = sheet.resize((resolution, resolution), Image.Resampling.BOX)
    return np.asarray(reduced, dtype=np.float32) / 255


def _background(scene: Scene, resolution: int) -> Floats:
    colour = _rgb(scene.background)
    pattern = texture(scene.texture, scene.accidents.texture_phase, resolution)[..., None]
    canvas = colour * (1 - pattern) + _other_tone(colour, 0.16) * pattern
    if scene.medium == "photo":
        canvas = canvas * (1 + 0.06 * ramp(scene.accidents.light, resolution)[..., None])
    return canvas.astype(np.float32)


def _surface(scene: Scene, inside: Floats, marked: Floats, middle: Point, zoom: float) -> Floats:
    """The object's colours, wherever it is: its own, and the second one where its pattern or its outline says so."""
    second = np.clip(marked + fill(scene, inside, middle, zoom), 0, 1)[..., None]
    own: Floats = _rgb(scene.colour) * np.float32(scene.accidents.shade) * (1 - second) + _rgb(scene.second) * second
    return own


@dataclass(frozen=True)
class _Parts:
    """What a style puts together: the scene, its background, the object's colours and where the object is, 0 … 1."""

    scene: Scene
    canvas: Floats
    surface: Floats
    inside: Floats
    zoom: float


def _photo(parts: _Parts) -> Floats:
    """Light on the object, and its soft shadow."""
    shift = (round(3 * parts.zoom), round(2 * parts.zoom))
    shadow = _blurred(np.roll(parts.inside, shift, axis=(0, 1)), 2.5 * parts.zoom)[..., None]
    shading = 1 + 0.13 * ramp(parts.scene.accidents.light, parts.inside.shape[0])[..., None]
    return _over(parts.canvas * (1 - 0.4 * shadow), parts.surface * shading, parts.inside)


def _drawing(parts: _Parts) -> Floats:
    """Flat, with a fine line of its own colour's darker tone around it."""
    soft = _blurred(parts.inside, 1.1 * parts.zoom)
    line = np.clip(soft * (1 - soft) * 4.4, 0, 1)
    return _over(_poster(parts), _other_tone(_rgb(parts.scene.colour), 0.6), line)


def _poster(parts: _Parts) -> Floats:
    """Flat, with nothing around it."""
    return _over(parts.canvas, parts.surface, parts.inside)


def _sketch(parts: _Parts) -> Floats:
    """A pale surface with strokes of its colour, and a dark contour."""
    resolution = parts.inside.shape[0]
    strokes = (ramp(45.0, resolution) * resolution / parts.zoom / 7) % 1 < 0.45
    hatched = np.where(strokes[..., None], parts.surface, parts.surface * 0.45 + 255 * 0.55)
    soft = _blurred(parts.inside, 1.6 * parts.zoom)
    contour = np.clip(soft * (1 - soft) * 8 - 0.6, 0, 1)
    return _over(_over(parts.canvas, hatched, parts.inside), np.float32(40), contour)


def _sticker(parts: _Parts) -> Floats:
    """Cut out with a broad pale border."""
    border = np.float32(250 if parts.scene.background != "white" else 60)
    reach = np.clip(_blurred(parts.inside, 3 * parts.zoom) * 6, 0, 1)
    return _over(_over(parts.canvas, border, reach), parts.surface, parts.inside)


def _stencil(parts: _Parts) -> Floats:
    """A broad line of its colour along its outline, and the background inside."""
    core = np.clip(_blurred(parts.inside, 3 * parts.zoom) * 5 - 4, 0, 1)
    return _over(parts.canvas, parts.surface, parts.inside * (1 - core))


_STYLES: Mapping[str, Callable[[_Parts], Floats]] = MappingProxyType(
    {
        "photo": _photo,
        "drawing": _drawing,
        "poster": _poster,
        "sketch": _sketch,
        "sticker": _sticker,
        "stencil": _stencil,
    }
)


def _over(below: Floats, above: Floats | np.float32, cover: Floats) -> Floats:
    covered: Floats = below * (1 - cover[..., None]) + above * cover[..., None]
    return covered


def _rgb(colour: str) -> Floats:
    return np.array(COLOURS[colour], dtype=np.float32)


def _other_tone(colour: Floats, amount: float) -> Floats:
    """``colour`` moved towards black, or towards white where it is dark already."""
    target = 255.0 if colour.mean() < 60 else 0.0
    moved: Floats = colour + (target - colour) * np.float32(amount)
    return moved


def _blurred(values: Floats, radius: float) -> Floats:
    sheet = Image.fromarray((values * 255).astype(np.uint8))
    return np.asarray(sheet.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
