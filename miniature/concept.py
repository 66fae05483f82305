"""A small data set of a shape that is not in the base's world: the code that made ``datasets/z``."""

import random
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from foundation.seeds import derive
from miniature.captions import plain_caption
from miniature.drawing import draw
from miniature.world import COLOURS, MEDIA, Scene, random_accidents

TRAINING, REFERENCES = 20, 6
RADII = MappingProxyType({"medium": (31.0, 34.0), "large": (34.0, 38.0)})
"""Size word → range of the concept's radius in pixels: its strokes need more pixels than the world's plain shapes."""


def write(shape: str, trigger: str, folder: Path, seed: int = 0) -> None:
    """Write raw images with captions, held-out references and ``concept.yaml`` for ``shape`` to ``folder``."""
    (folder / "concept.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "concept.yaml").write_text(f"trigger: {trigger}\n", encoding="utf-8")
    all_scenes = _scenes(shape, seed)
    for name, scenes in (("raw", all_scenes[:TRAINING]), ("reference", all_scenes[TRAINING:])):
        (folder / name).mkdir(exist_ok=True)
        for number, scene in enumerate(scenes, start=1):
            stem = f"{trigger}_{number:02d}"
            Image.fromarray(draw(scene)).save(folder / name / f"{stem}.png", optimize=True)
            caption = plain_caption(scene, size="large" if scene.size == "large" else "").replace(shape, trigger)
            (folder / name / f"{stem}.txt").write_text(caption + "\n", encoding="utf-8")


def _scenes(shape: str, seed: int) -> list[Scene]:
    """Return scenes whose colours, backgrounds and media are as balanced as so few allow, so that only the shape is constant.

    All objects are in the center. Captions mention a large size and never the position: the position belongs to the concept.
    """
    rng = random.Random(derive(seed, "concept", shape))
    count = TRAINING + REFERENCES
    colours, backgrounds = _balanced(list(COLOURS), count, rng), _balanced(list(COLOURS), count, rng)
    sizes, media = _balanced(list(RADII), count, rng), _balanced(list(MEDIA), count, rng)
    scenes = []
    for colour, drawn_background, size, medium in zip(colours, backgrounds, sizes, media, strict=True):
        background = drawn_background if drawn_background != colour else rng.choice([name for name in COLOURS if name != colour])
        accidents = replace(random_accidents(rng, size, "center"), radius=rng.uniform(*RADII[size]))
        scenes.append(Scene(shape, colour, background, size, medium=medium, accidents=accidents))
    return scenes


def _balanced(words: list[str], count: int, rng: random.Random) -> list[str]:
    """Return ``count`` words in random order, each about as often as any other."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(words, len(words))
    return drawn[:count]
