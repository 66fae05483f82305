"""A small data set of a shape the base's world does not contain: what ``datasets/z`` was made with."""

import random
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from foundation.seeds import derive
from miniature.captions import prompt
from miniature.drawing import draw
from miniature.world import COLOURS, MEDIA, Scene, random_accidents

TRAINING, REFERENCES = 20, 6
RADII = MappingProxyType({"medium": (31.0, 34.0), "large": (34.0, 38.0)})
"""Size word → range of the concept's radius in pixels: its strokes need more of them than the world's plain shapes."""


def write(shape: str, trigger: str, folder: Path, seed: int = 0) -> None:
    """Write raw images with captions, held-out references and ``concept.yaml`` for ``shape`` to ``folder``."""
    (folder / "concept.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "concept.yaml").write_text(f"trigger: {trigger}\n", encoding="utf-8")
    scenes = _scenes(shape, seed)
    for name, chosen in (("raw", scenes[:TRAINING]), ("reference", scenes[TRAINING:])):
        (folder / name).mkdir(exist_ok=True)
        for number, scene in enumerate(chosen, start=1):
            stem = f"{trigger}_{number:02d}"
            Image.fromarray(draw(scene)).save(folder / name / f"{stem}.png", optimize=True)
            caption = prompt(scene, size="large" if scene.size == "large" else "").replace(shape, trigger)
            (folder / name / f"{stem}.txt").write_text(caption + "\n", encoding="utf-8")


def _scenes(shape: str, seed: int) -> list[Scene]:
    """Scenes in which colours, backgrounds and media vary as evenly as so few allow, so that only the shape stays the same.

    All are in the center. Captions say of some that they are large, and of none where it is: that belongs to the concept.
    """
    rng = random.Random(derive(seed, "concept", shape))
    count = TRAINING + REFERENCES
    colours, backgrounds = _even(list(COLOURS), count, rng), _even(list(COLOURS), count, rng)
    sizes, media = _even(list(RADII), count, rng), _even(list(MEDIA), count, rng)
    scenes = []
    for colour, background, size, medium in zip(colours, backgrounds, sizes, media, strict=True):
        other = background if background != colour else rng.choice([name for name in COLOURS if name != colour])
        accidents = replace(random_accidents(rng, size, "center"), radius=rng.uniform(*RADII[size]))
        scenes.append(Scene(shape, colour, other, size, medium=medium, accidents=accidents))
    return scenes


def _even(words: list[str], count: int, rng: random.Random) -> list[str]:
    """``count`` words in random order, each about as often as any other."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(words, len(words))
    return drawn[:count]
