"""Patterns: the background's texture, the object's fill, and the gradient of light over an image."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from miniature.outlines import Point
from miniature.world import Scene

Floats = NDArray[np.floating[Any]]


def texture(name: str, phase: float, resolution: int) -> Floats:
    """Return where a background shows its second tone, 0 … 1.

    The period is a quarter of the image; ``phase`` is in periods.
    """
    period = resolution / 4
    x, y = _pixel_centers(resolution)
    x, y = x + phase * period, y + phase * period
    if name == "striped":
        return _coverage(np.abs((x + y) / math.sqrt(2) % period - period / 2) - period / 4)
    if name == "dotted":
        return _coverage(period * 0.27 - np.hypot(x % period - period / 2, y % period - period / 2))
    if name == "checkered":
        return _coverage(np.sin(math.pi * x / period) * np.sin(math.pi * y / period) * period / 2)
    return np.zeros((resolution, resolution), dtype=np.float32)


def fill(scene: Scene, inside: Floats, center: Point, zoom: float) -> Floats:
    """Return where an object at ``center`` shows its second colour, 0 … 1; the pattern rotates and moves with the object."""
    resolution, period = inside.shape[0], scene.accidents.fill_period * zoom
    x, y = _pixel_centers(resolution)
    angle = math.radians(scene.accidents.fill_angle + scene.accidents.rotation)
    along = (x - center[0]) * math.cos(angle) + (y - center[1]) * math.sin(angle)
    across = (y - center[1]) * math.cos(angle) - (x - center[0]) * math.sin(angle)
    if scene.fill == "striped":
        return _coverage(np.abs(along % period - period / 2) - period / 4)
    if scene.fill == "wavy":
        bent = along + 0.3 * period * np.sin(2 * math.pi * across / (1.6 * period))
        return _coverage(np.abs(bent % period - period / 2) - period / 4)
    if scene.fill == "dotted":
        return _coverage(period * 0.3 - np.hypot(along % period - period / 2, across % period - period / 2))
    if scene.fill == "checkered":
        return _coverage(np.sin(math.pi * along / period) * np.sin(math.pi * across / period) * period / 2)
    if scene.fill == "halved":
        return _coverage(along)
    if scene.fill == "bordered":
        border = 0.16 * scene.accidents.radius * zoom
        return _coverage(border - ndimage.distance_transform_edt(inside > 0.5).astype(np.float32))
    return np.zeros((resolution, resolution), dtype=np.float32)


def ramp(angle: float, resolution: int) -> Floats:
    """Return a gradient over the image from -1 to 1, brightest towards ``angle`` in degrees."""
    y, x = (np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5) / resolution * 2 - 1
    gradient: Floats = (x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))) / math.sqrt(2)
    return gradient


def _pixel_centers(resolution: int) -> tuple[Floats, Floats]:
    """Return the centers of all pixels, x and y."""
    y, x = np.mgrid[0:resolution, 0:resolution].astype(np.float32) + 0.5
    return x, y


def _coverage(distance: Floats) -> Floats:
    """Return a signed distance in pixels as coverage, 0 … 1, with a soft edge of one pixel."""
    coverage: Floats = np.clip(distance + 0.5, 0, 1)
    return coverage
