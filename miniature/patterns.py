"""Patterns: the background's texture, the object's fill, and the slope of light over an image."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from miniature.outlines import Point
from miniature.world import Scene

Floats = NDArray[np.floating[Any]]


def texture(name: str, phase: float, resolution: int) -> Floats:
    """Where a background shows its second tone, 0 … 1. The period is a quarter of the image, ``phase`` in periods."""
    period = resolution / 4
    x, y = _pixels(resolution)
    x, y = x + phase * period, y + phase * period
    if name == "striped":
        return _edge(np.abs((x + y) / math.sqrt(2) % period - period / 2) - period / 4)
    if name == "dotted":
        return _edge(period * 0.27 - np.hypot(x % period - period / 2, y % period - period / 2))
    if name == "checkered":
        return _edge(np.sin(math.pi * x / period) * np.sin(math.pi * y / period) * period / 2)
    return np.zeros((resolution, resolution), dtype=np.float32)


def fill(scene: Scene, inside: Floats, middle: Point, zoom: float) -> Floats:
    """Where an object around ``middle`` shows its second colour, 0 … 1; its pattern is turned and moved as the object is."""
    resolution, period = inside.shape[0], scene.accidents.fill_period * zoom
    x, y = _pixels(resolution)
    turn = math.radians(scene.accidents.fill_angle + scene.accidents.rotation)
    along = (x - middle[0]) * math.cos(turn) + (y - middle[1]) * math.sin(turn)
    across = (y - middle[1]) * math.cos(turn) - (x - middle[0]) * math.sin(turn)
    if scene.fill == "striped":
        return _edge(np.abs(along % period - period / 2) - period / 4)
    if scene.fill == "wavy":
        bent = along + 0.3 * period * np.sin(2 * math.pi * across / (1.6 * period))
        return _edge(np.abs(bent % period - period / 2) - period / 4)
    if scene.fill == "dotted":
        return _edge(period * 0.3 - np.hypot(along % period - period / 2, across % period - period / 2))
    if scene.fill == "checkered":
        return _edge(np.sin(math.pi * along / period) * np.sin(math.pi * across / period) * period / 2)
    if scene.fill == "halved":
        return _edge(along)
    if scene.fill == "bordered":
        border = 0.16 * scene.accidents.radius * zoom
        return _edge(border - ndimage.distance_transform_edt(inside > 0.5).astype(np.float32))
    return np.zeros((resolution, resolution), dtype=np.float32)


def ramp(angle: float, resolution: int) -> Floats:
    """A slope over the image from -1 to 1, brightest towards ``angle`` in degrees."""
    y, x = (np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5) / resolution * 2 - 1
    slope: Floats = (x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))) / math.sqrt(2)
    return slope


def _pixels(resolution: int) -> tuple[Floats, Floats]:
    """The middles of all pixels, x and y."""
    y, x = np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5
    return x, y


def _edge(distance: Floats) -> Floats:
    """A signed distance in pixels as coverage, 0 … 1, one pixel soft."""
    coverage: Floats = np.clip(distance + 0.5, 0, 1)
    return coverage
