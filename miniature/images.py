"""The training images of the base: scenes drawn once, some cropped or reduced, each with its size and crop conditioning.

Nearly half are of the plain world that the base is graded in. In the others stand its shapes in all styles and patterns, things
with names that the base learns by heart, and things whose names come once.
"""

import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from foundation.files import atomic_file
from foundation.seeds import derive
from miniature.captions import made_up_word
from miniature.drawing import ImageArray, draw
from miniature.invention import names
from miniature.world import RESOLUTION, SHAPES, Scene, random_scene, wide_scene

COUNT = 60_000
PLAIN, KNOWN, NAMED = 0.45, 0.15, 0.27
"""Shares of scenes of the plain world, of its shapes in the wide world, and of things with names; the others' come once."""

_CHUNK = 256
_LARGE, _LOW = 160, 64


@dataclass(frozen=True)
class Example:
    """One training image in words: its scene and SDXL's size conditioning.

    ``time_ids`` is (original height, original width, crop top, crop left, target height, target width) in pixels (SDXL,
    arXiv 2307.01952, section 2.2).
    """

    scene: Scene
    time_ids: tuple[int, int, int, int, int, int]


def example(seed: int, index: int) -> Example:
    """The ``index``-th example: one in eight a crop from a larger image, one in eight a small image enlarged."""
    rng = random.Random(derive(seed, "scene", index))
    scene = _scene(rng)
    size, top, left = RESOLUTION, 0, 0
    if index % 8 == 0:
        size, top, left = _LARGE, rng.randint(0, _LARGE - RESOLUTION), rng.randint(0, _LARGE - RESOLUTION)
    elif index % 8 == 1:
        size = _LOW
    return Example(scene, (size, size, top, left, RESOLUTION, RESOLUTION))


def image(chosen: Example) -> ImageArray:
    """The example as the model sees it: drawn at its original size, then cropped or enlarged to 128 × 128."""
    height, _, top, left, *_ = chosen.time_ids
    drawn = draw(chosen.scene, height)
    if height < RESOLUTION:
        enlarged = Image.fromarray(drawn).resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
        return np.asarray(enlarged)
    return drawn[top : top + RESOLUTION, left : left + RESOLUTION]


def draw_all(seed: int, folder: Path, count: int = COUNT) -> np.ndarray:
    """All training images as uint8 (count, 128, 128, 3), drawn once by all processors and then mapped from ``folder``."""
    path = folder / "images.npy"
    if not path.exists():
        # Spawned and not forked: whoever calls may have threads that a fork would leave half alive.
        workers = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))
        with atomic_file(path) as temporary, workers as pool:
            sheet = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, RESOLUTION, RESOLUTION, 3))
            starts = range(0, count, _CHUNK)
            chunks = pool.map(partial(_draw_chunk, seed, count), starts)
            for start, chunk in zip(starts, tqdm(chunks, desc="images", total=len(starts), mininterval=5), strict=True):
                sheet[start : start + len(chunk)] = chunk
            sheet.flush()
    drawn: np.ndarray = np.load(path, mmap_mode="r")
    return drawn


def _scene(rng: random.Random) -> Scene:
    kind = rng.random()
    if kind < PLAIN:
        return random_scene(rng)
    if kind < PLAIN + KNOWN:
        return wide_scene(rng, rng.choice(SHAPES))
    return wide_scene(rng, rng.choice(names()) if kind < PLAIN + KNOWN + NAMED else made_up_word(rng))


def _draw_chunk(seed: int, count: int, start: int) -> ImageArray:
    return np.stack([image(example(seed, index)) for index in range(start, min(start + _CHUNK, count))])
