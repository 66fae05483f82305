"""Draw scenes as images: the object's outline, its pattern, the background, and the style of the image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from miniature.invention import outline_of
from miniature.outlines import Outline, Point, transform
from miniature.patterns import Floats, fill, ramp, texture
from miniature.world import COLOURS, RESOLUTION, Scene

ImageArray = NDArray[np.uint8]
"""An sRGB image, (height, width, 3)."""

_SUPERSAMPLING = 4
_INK = MappingProxyType({"body": 255, "hole": 0})


def draw(scene: Scene, resolution: int = RESOLUTION) -> ImageArray:
    """Draw the scene as an image of ``resolution`` × ``resolution`` pixels."""
    zoom = resolution / RESOLUTION
    outline = outline_of(scene.shape)
    center = (resolution / 2 + scene.accidents.offset[0] * zoom, resolution / 2 + scene.accidents.offset[1] * zoom)
    placement = (center, scene.accidents.radius * zoom, scene.accidents.rotation, resolution)
    inside = body_coverage(outline, *placement)
    surface = _surface(scene, inside, mark_coverage(outline, *placement), center, zoom)
    image = _STYLES[scene.medium](_Layers(scene, _background(scene, resolution), surface, inside, zoom))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def body_coverage(outline: Outline, center: Point, radius: float, rotation: float, resolution: int) -> Floats:
    """Return how much of each pixel the outline covers, 0 … 1, (resolution, resolution), without its holes."""
    inked = [(layer.polygon, _INK[layer.part]) for layer in outline if layer.part in _INK]
    return _rasterize(inked, center, radius, rotation, resolution)


def mark_coverage(outline: Outline, center: Point, radius: float, rotation: float, resolution: int) -> Floats:
    """Return how much of each pixel the outline's marks cover, 0 … 1, (resolution, resolution), outside its body too."""
    inked = [(layer.polygon, 255) for layer in outline if layer.part == "mark"]
    return _rasterize(inked, center, radius, rotation, resolution)


def _rasterize(
    inked: list[tuple[tuple[Point, ...], int]], center: Point, radius: float, rotation: float, resolution: int
) -> Floats:
    sheet = Image.new("L", (resolution * _SUPERSAMPLING, resolution * _SUPERSAMPLING), 0)
    pen = ImageDraw.Draw(sheet)
    for polygon, ink in inked:
        points = transform(polygon, center, radius, rotation)
        pen.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points], fill=ink)
    reduced = sheet.resize((resolution, resolution), Image.Resampling.BOX)
    return np.asarray(reduced, dtype=np.float32) / 255


def _background(scene: Scene, resolution: int) -> Floats:
    colour = _rgb(scene.background)
    pattern = texture(scene.texture, scene.accidents.texture_phase, resolution)[..., None]
    canvas = colour * (1 - pattern) + _shift_tone(colour, 0.16) * pattern
    if scene.medium == "photo":
        canvas = canvas * (1 + 0.06 * ramp(scene.accidents.light, resolution)[..., None])
    return canvas.astype(np.float32)


def _surface(scene: Scene, inside: Floats, marked: Floats, center: Point, zoom: float) -> Floats:
    """Return the object's colours for the whole image: its main colour, and the second one in its pattern and marks."""
    second = np.clip(marked + fill(scene, inside, center, zoom), 0, 1)[..., None]
    surface: Floats = _rgb(scene.colour) * np.float32(scene.accidents.shade) * (1 - second) + _rgb(scene.second) * second
    return surface


@dataclass(frozen=True)
class _Layers:
    """The inputs of a style: the scene, its background, the object's colours and its coverage of each pixel, 0 … 1."""

    scene: Scene
    canvas: Floats
    surface: Floats
    inside: Floats
    zoom: float


def _photo(layers: _Layers) -> Floats:
    """Return the object lit, with a soft shadow."""
    shift = (round(3 * layers.zoom), round(2 * layers.zoom))
    shadow = _blur(np.roll(layers.inside, shift, axis=(0, 1)), 2.5 * layers.zoom)[..., None]
    shading = 1 + 0.13 * ramp(layers.scene.accidents.light, layers.inside.shape[0])[..., None]
    return _composite(layers.canvas * (1 - 0.4 * shadow), layers.surface * shading, layers.inside)


def _drawing(layers: _Layers) -> Floats:
    """Return the object flat, with a fine line around it in a darker tone of its colour."""
    soft = _blur(layers.inside, 1.1 * layers.zoom)
    line = np.clip(soft * (1 - soft) * 4.4, 0, 1)
    return _composite(_poster(layers), _shift_tone(_rgb(layers.scene.colour), 0.6), line)


def _poster(layers: _Layers) -> Floats:
    """Return the object flat, with nothing around it."""
    return _composite(layers.canvas, layers.surface, layers.inside)


def _sketch(layers: _Layers) -> Floats:
    """Return a pale surface with strokes in its colour, and a dark contour."""
    resolution = layers.inside.shape[0]
    strokes = (ramp(45.0, resolution) * resolution / layers.zoom / 7) % 1 < 0.45
    hatched = np.where(strokes[..., None], layers.surface, layers.surface * 0.45 + 255 * 0.55)
    soft = _blur(layers.inside, 1.6 * layers.zoom)
    contour = np.clip(soft * (1 - soft) * 8 - 0.6, 0, 1)
    return _composite(_composite(layers.canvas, hatched, layers.inside), np.float32(40), contour)


def _sticker(layers: _Layers) -> Floats:
    """Return the object cut out with a broad pale border."""
    border = np.float32(250 if layers.scene.background != "white" else 60)
    border_coverage = np.clip(_blur(layers.inside, 3 * layers.zoom) * 6, 0, 1)
    return _composite(_composite(layers.canvas, border, border_coverage), layers.surface, layers.inside)


def _stencil(layers: _Layers) -> Floats:
    """Return a broad line in the object's colour along its outline, with the background inside."""
    core = np.clip(_blur(layers.inside, 3 * layers.zoom) * 5 - 4, 0, 1)
    return _composite(layers.canvas, layers.surface, layers.inside * (1 - core))


_STYLES: Mapping[str, Callable[[_Layers], Floats]] = MappingProxyType(
    {
        "photo": _photo,
        "drawing": _drawing,
        "poster": _poster,
        "sketch": _sketch,
        "sticker": _sticker,
        "stencil": _stencil,
    }
)


def _composite(below: Floats, above: Floats | np.float32, coverage: Floats) -> Floats:
    composed: Floats = below * (1 - coverage[..., None]) + above * coverage[..., None]
    return composed


def _rgb(colour: str) -> Floats:
    return np.array(COLOURS[colour], dtype=np.float32)


def _shift_tone(colour: Floats, amount: float) -> Floats:
    """Return ``colour`` moved towards black, or towards white if it is already dark."""
    target = 255.0 if colour.mean() < 60 else 0.0
    shifted: Floats = colour + (target - colour) * np.float32(amount)
    return shifted


def _blur(values: Floats, radius: float) -> Floats:
    image = Image.fromarray((values * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
