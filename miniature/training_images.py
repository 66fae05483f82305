"""The training images of the base: drawn scenes, some cropped or enlarged, each with its size and crop conditioning.

Nearly half are of the plain world in which the base is graded. The others show its shapes in all styles and patterns, shapes with
invented names that the base memorizes, and shapes whose names occur once.
"""

import os
import random
from collections.abc import Callable
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
from miniature.invention import invented_names
from miniature.world import RESOLUTION, SHAPES, Scene, random_scene, wide_scene

COUNT = 60_000
PLAIN_SHARE, KNOWN_SHARE, NAMED_SHARE = 0.45, 0.15, 0.27
"""Shares of scenes of the plain world, of its shapes in the wide world, and of shapes with invented names.

The remaining scenes have shapes whose names occur once.
"""

_CHUNK = 256
_LARGE, _LOW = 160, 64
_CYCLE = 8
"""Of as many images in a row, the first is a crop and the second enlarged."""


@dataclass(frozen=True)
class Example:
    """The description of one training image: its scene and SDXL's size conditioning.

    ``time_ids`` is (original height, original width, crop top, crop left, target height, target width) in pixels (SDXL,
    arXiv 2307.01952, section 2.2).
    """

    scene: Scene
    time_ids: tuple[int, int, int, int, int, int]


def draw_example(seed: int, index: int) -> Example:
    """Draw the ``index``-th example at random: one in eight is a crop of a larger image, one in eight an enlarged small image."""
    rng = random.Random(derive(seed, "scene", index))
    scene = _random_scene(rng)
    size, top, left = RESOLUTION, 0, 0
    if index % _CYCLE == 0:
        size, top, left = _LARGE, rng.randint(0, _LARGE - RESOLUTION), rng.randint(0, _LARGE - RESOLUTION)
    elif index % _CYCLE == 1:
        size = _LOW
    return Example(scene, (size, size, top, left, RESOLUTION, RESOLUTION))


def whole_image(index: int) -> int:
    """Return ``index``, or that of an example near it if it is of a crop or an enlarged image."""
    return index + 2 if index % _CYCLE < 2 else index


def render(example: Example) -> ImageArray:
    """Return the image the model is trained on: drawn at its original size, then cropped or enlarged to 128 × 128."""
    height, _, top, left, *_ = example.time_ids
    image = draw(example.scene, height)
    if height < RESOLUTION:
        enlarged = Image.fromarray(image).resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
        return np.asarray(enlarged)
    return image[top : top + RESOLUTION, left : left + RESOLUTION]


def draw_all(
    seed: int, folder: Path, count: int = COUNT, name: str = "images", example: Callable[[int, int], Example] = draw_example
) -> np.ndarray:
    """Return training images as uint8 (count, 128, 128, 3), drawn once by all CPUs and then memory-mapped from ``folder``.

    ``example`` is a function of a module that describes the image of a seed and an index.
    """
    path = folder / f"{name}.npy"
    if not path.exists():
        # Spawned and not forked: the caller may have threads, which a fork would leave in an undefined state.
        workers = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))
        with atomic_file(path) as temporary, workers as pool:
            array = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, RESOLUTION, RESOLUTION, 3))
            starts = range(0, count, _CHUNK)
            chunks = pool.map(partial(_draw_chunk, example, seed, count), starts)
            for start, chunk in zip(starts, tqdm(chunks, desc=name, total=len(starts), mininterval=5), strict=True):
                array[start : start + len(chunk)] = chunk
            array.flush()
    images: np.ndarray = np.load(path, mmap_mode="r")
    return images


def _random_scene(rng: random.Random) -> Scene:
    kind = rng.random()
    if kind < PLAIN_SHARE:
        return random_scene(rng)
    if kind < PLAIN_SHARE + KNOWN_SHARE:
        return wide_scene(rng, rng.choice(SHAPES))
    return wide_scene(rng, rng.choice(invented_names()) if kind < PLAIN_SHARE + KNOWN_SHARE + NAMED_SHARE else made_up_word(rng))


def _draw_chunk(example: Callable[[int, int], Example], seed: int, count: int, start: int) -> ImageArray:
    return np.stack([render(example(seed, index)) for index in range(start, min(start + _CHUNK, count))])
