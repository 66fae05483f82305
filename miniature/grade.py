"""Grade the miniatures: does an image show what its prompt requests, read off the pixels by geometry?"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from tqdm import tqdm

from foundation.files import write_json
from foundation.seeds import derive
from miniature import captions, chinese, geometry, plates, qwen_tokenizer, sign_reading
from miniature.drawing import ImageArray
from miniature.glyphs import GLYPHS
from miniature.world import Scene, random_scene

PROMPTS = 200
BATCH = 10
EDGE = 128
"""Height and width of an image in pixels."""
SHOWN = 48
"""Images on a contact sheet, of each language and kind."""
MIN_OVERLAP = 0.6
"""The intersection over union from which on a sign is the one that was drawn."""


@dataclass(frozen=True)
class Language:
    """A language of prompts: the plain caption of a scene, and of a plate. ``suffix`` ends the names of its figures."""

    suffix: str
    caption: Callable[[Scene], str]
    plate_caption: Callable[[Scene], str]


ENGLISH = Language("", captions.full_caption, plates.full_caption)
CHINESE = Language(" in Chinese", chinese.full_caption, plates.full_caption_in_chinese)


@dataclass(frozen=True)
class Target:
    """The shares of prompts that a model must get right when it generates in ``steps`` steps with ``guidance_scale``.

    ``options`` are further ones of its pipeline in diffusers, whose guidance is called otherwise if ``has_true_guidance``. It is
    graded in each of ``languages``, and on plates with signs if ``has_signs``.
    """

    steps: int
    guidance_scale: float
    required: Mapping[str, float]
    options: Mapping[str, Any] = field(default_factory=dict)
    languages: Sequence[Language] = (ENGLISH,)
    has_signs: bool = False
    has_true_guidance: bool = False


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "mini-sdxl": Target(25, 5.0, {"background": 0.97, "object": 0.95, "position": 0.95, "shape": 0.90}),
        "mini-sdxl-turbo": Target(4, 0.0, {"background": 0.95, "shape": 0.80}),
        "mini-sd15": Target(25, 5.0, {"background": 0.95, "object": 0.93, "position": 0.90, "shape": 0.85}),
        "mini-z-image": Target(
            25,
            3.0,
            {"background": 0.95, "object": 0.93, "position": 0.90, "shape": 0.85},
            options={"height": EDGE, "width": EDGE, "max_sequence_length": qwen_tokenizer.MAX_LENGTH},
        ),
    }
)
"""Targets by the names of the committed models."""


@dataclass(frozen=True)
class Grade:
    """Shares of prompts, 0 … 1, whose image has the requested background colour, object colour, position, shape or sign."""

    figures: Mapping[str, float]

    def missed(self, target: Target) -> dict[str, float]:
        """Return the figures below the target."""
        return {name: value for name, value in self.figures.items() if value < target.required.get(name, 0.0)}


def draw_scenes(seed: int, count: int = PROMPTS) -> list[Scene]:
    """Return the scenes to generate; none of them was in the training set."""
    return [random_scene(random.Random(derive(seed, "grade", index))) for index in range(count)]


def draw_plates(seed: int, count: int = PROMPTS) -> list[Scene]:
    """Return plates to generate, as many with each sign; none of them was in the training set."""
    signs = list(GLYPHS)
    rngs = (random.Random(derive(seed, "grade plate", index)) for index in range(count))
    return [plates.random_plate(rng, signs[index % len(signs)]) for index, rng in enumerate(rngs)]


def generate(pipeline: DiffusionPipeline, prompts: Sequence[str], seed: int, target: Target) -> list[ImageArray]:
    """Generate one image for each prompt, each from its own CPU generator."""
    images: list[ImageArray] = []
    pipeline.set_progress_bar_config(disable=True)
    for start in tqdm(range(0, len(prompts), BATCH), desc="grade", unit="batch"):
        batch = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(derive(seed, "grade noise", start + index)) for index in range(len(batch))]
        options = {**_guidance(target, len(batch)), **target.options}
        output = pipeline(batch, num_inference_steps=target.steps, generator=generators, output_type="np", **options)
        images += [np.rint(image * 255).astype(np.uint8) for image in output.images]
    return images


def grade_images(scenes: Sequence[Scene], images: Sequence[ImageArray]) -> Grade:
    """Compare each image with the scene it was generated for."""
    readings = [geometry.read(image) for image in images]
    pairs = list(zip(scenes, readings, strict=True))
    return Grade(
        {
            "background": _share(scene.background == reading.background for scene, reading in pairs),
            "object": _share(scene.colour == reading.colour for scene, reading in pairs),
            "position": _share(scene.position == reading.position for scene, reading in pairs),
            "shape": _share(scene.shape == reading.shape for scene, reading in pairs),
        }
    )


def grade_signs(scenes: Sequence[Scene], images: Sequence[ImageArray]) -> Grade:
    """Compare the sign on each plate with the requested one: no other overlaps it more, and it does by ``MIN_OVERLAP``."""
    readings = [sign_reading.read_sign(image, scene) for image, scene in zip(images, scenes, strict=True)]
    return Grade(
        {
            "sign": _share(
                reading.glyph == scene.shape and reading.overlap >= MIN_OVERLAP
                for scene, reading in zip(scenes, readings, strict=True)
            )
        }
    )


def contact_sheet(images: Sequence[ImageArray], columns: int = 12) -> Image.Image:
    """Return the images in rows; the last row need not be full."""
    height, width, _ = images[0].shape
    sheet = Image.new("RGB", (width * min(columns, len(images)), height * -(-len(images) // columns)), "white")
    for index, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (index % columns * width, index // columns * height))
    return sheet


def grade_model(model: Path, target: Target, seed: int, out: Path, count: int = PROMPTS) -> Grade:
    """Grade the weights in ``model`` with the settings of ``target`` and write ``out`` (JSON) and a contact sheet next to it."""
    pipeline = DiffusionPipeline.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    figures, shown = dict[str, float](), list[ImageArray]()
    for language in target.languages:
        scenes = draw_scenes(seed, count)
        images = generate(pipeline, [language.caption(scene) for scene in scenes], seed, target)
        found = dict(grade_images(scenes, images).figures)
        shown += images[:SHOWN]
        if target.has_signs:
            scenes = draw_plates(seed, count)
            images = generate(pipeline, [language.plate_caption(scene) for scene in scenes], seed, target)
            found |= grade_signs(scenes, images).figures
            shown += images[:SHOWN]
        figures |= {name + language.suffix: value for name, value in found.items()}
    write_json(out, figures)
    contact_sheet(shown).save(out.with_suffix(".png"))
    return Grade(figures)


def format_table(grade: Grade, target: Target) -> str:
    """Format the grade as lines for a terminal."""
    width = 2 + max(len(name) for name in grade.figures)
    lines, missed = [f"{'':{width}}reached  required"], grade.missed(target)
    for name, value in grade.figures.items():
        required = f"{target.required[name]:8.0%}" if name in target.required else f"{'—':>8}"
        lines.append(f"{name:{width}}{value:7.1%}  {required}{'   missed' if name in missed else ''}")
    return "\n".join(lines)


def _guidance(target: Target, count: int) -> Mapping[str, Any]:
    if target.has_true_guidance:
        # Without a negative prompt there is none, and an empty one counts as none.
        return {"true_cfg_scale": target.guidance_scale, "negative_prompt": [" "] * count}
    return {"guidance_scale": target.guidance_scale}


def _share(values: Iterable[bool]) -> float:
    results = list(values)
    return round(sum(results) / len(results), 4)
