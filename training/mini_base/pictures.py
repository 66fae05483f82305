"""The training pictures of the base: scenes drawn once, some cropped or reduced, each with its size and crop conditioning."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from foundation.files import whole_file
from foundation.seeds import derive
from training.mini_base.drawing import Picture, draw
from training.mini_base.world import RESOLUTION, Scene, random_scene

COUNT = 20_000
_LARGE, _LOW = 160, 64


@dataclass(frozen=True)
class Example:
    """One training picture in words: its scene and SDXL's size conditioning.

    ``time_ids`` is (original height, original width, crop top, crop left, target height, target width) in pixels (SDXL,
    arXiv 2307.01952, section 2.2).
    """

    scene: Scene
    time_ids: tuple[int, int, int, int, int, int]


def example(seed: int, index: int) -> Example:
    """The ``index``-th example: one in eight a crop from a larger picture, one in eight a small picture enlarged."""
    rng = random.Random(derive(seed, "scene", index))
    scene = random_scene(rng)
    size, top, left = RESOLUTION, 0, 0
    if index % 8 == 0:
        size, top, left = _LARGE, rng.randint(0, _LARGE - RESOLUTION), rng.randint(0, _LARGE - RESOLUTION)
    elif index % 8 == 1:
        size = _LOW
    return Example(scene, (size, size, top, left, RESOLUTION, RESOLUTION))


def picture(chosen: Example) -> Picture:
    """The example as the model sees it: drawn at its original size, then cropped or enlarged to 128 × 128."""
    height, _, top, left, *_ = chosen.time_ids
    drawn = draw(chosen.scene, height)
    if height < RESOLUTION:
        enlarged = Image.fromarray(drawn).resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
        return np.asarray(enlarged)
    return drawn[top : top + RESOLUTION, left : left + RESOLUTION]


def draw_all(seed: int, folder: Path, count: int = COUNT) -> np.ndarray:
    """All training pictures as uint8 (count, 128, 128, 3), drawn once and then mapped from ``folder``."""
    path = folder / "pictures.npy"
    if not path.exists():
        with whole_file(path) as temporary:
            sheet = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, RESOLUTION, RESOLUTION, 3))
            for index in tqdm(range(count), desc="pictures", mininterval=5):
                sheet[index] = picture(example(seed, index))
            sheet.flush()
    drawn: np.ndarray = np.load(path, mmap_mode="r")
    return drawn
