"""Grade the miniature: does an image show what its prompt requests, read off the pixels by geometry?"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
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
from miniature import geometry
from miniature.captions import full_caption
from miniature.drawing import ImageArray
from miniature.world import Scene, random_scene

PROMPTS = 200
BATCH = 10


@dataclass(frozen=True)
class Target:
    """The shares of prompts that a model must get right when it generates in ``steps`` steps with ``guidance_scale``.

    ``options`` are further ones of its pipeline in diffusers.
    """

    steps: int
    guidance_scale: float
    required: Mapping[str, float]
    options: Mapping[str, Any] = field(default_factory=dict)


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "mini-sdxl": Target(25, 5.0, {"background": 0.97, "object": 0.95, "position": 0.95, "shape": 0.90}),
        "mini-sdxl-turbo": Target(4, 0.0, {"background": 0.95, "shape": 0.80}),
        "mini-sd15": Target(25, 5.0, {"background": 0.95, "object": 0.93, "position": 0.90, "shape": 0.85}),
    }
)
"""Targets by the names of the committed models."""


@dataclass(frozen=True)
class Grade:
    """Share of prompts whose image has the requested background colour, object colour, position and shape, 0 … 1."""

    background: float
    object: float
    position: float
    shape: float

    def missed(self, target: Target) -> dict[str, float]:
        """Return the figures below the target."""
        return {name: value for name, value in asdict(self).items() if value < target.required.get(name, 0.0)}


def draw_scenes(seed: int, count: int = PROMPTS) -> list[Scene]:
    """Return the scenes to generate; none of them was in the training set."""
    return [random_scene(random.Random(derive(seed, "grade", index))) for index in range(count)]


def generate(pipeline: DiffusionPipeline, scenes: list[Scene], seed: int, target: Target) -> list[ImageArray]:
    """Generate one image for each scene, each from its own CPU generator."""
    images: list[ImageArray] = []
    pipeline.set_progress_bar_config(disable=True)
    for start in tqdm(range(0, len(scenes), BATCH), desc="grade", unit="batch"):
        batch = scenes[start : start + BATCH]
        generators = [torch.Generator().manual_seed(derive(seed, "grade noise", start + index)) for index in range(len(batch))]
        output = pipeline(
            [full_caption(scene) for scene in batch],
            num_inference_steps=target.steps,
            guidance_scale=target.guidance_scale,
            generator=generators,
            output_type="np",
            **target.options,
        )
        images += [np.rint(image * 255).astype(np.uint8) for image in output.images]
    return images


def grade_images(scenes: list[Scene], images: list[ImageArray]) -> Grade:
    """Compare each image with the scene it was generated for."""
    readings = [geometry.read(image) for image in images]
    pairs = list(zip(scenes, readings, strict=True))
    return Grade(
        background=_share(scene.background == reading.background for scene, reading in pairs),
        object=_share(scene.colour == reading.colour for scene, reading in pairs),
        position=_share(scene.position == reading.position for scene, reading in pairs),
        shape=_share(scene.shape == reading.shape for scene, reading in pairs),
    )


def contact_sheet(images: list[ImageArray], columns: int = 12, rows: int = 4) -> Image.Image:
    """Return the first images in rows; the last row need not be full."""
    shown = images[: columns * rows]
    height, width, _ = shown[0].shape
    sheet = Image.new("RGB", (width * min(columns, len(shown)), height * -(-len(shown) // columns)), "white")
    for index, image in enumerate(shown):
        sheet.paste(Image.fromarray(image), (index % columns * width, index // columns * height))
    return sheet


def grade_model(model: Path, target: Target, seed: int, out: Path, count: int = PROMPTS) -> Grade:
    """Grade the weights in ``model`` with the settings of ``target`` and write ``out`` (JSON) and a contact sheet next to it."""
    pipeline = DiffusionPipeline.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    scenes = draw_scenes(seed, count)
    images = generate(pipeline, scenes, seed, target)
    grade = grade_images(scenes, images)
    write_json(out, asdict(grade))
    contact_sheet(images).save(out.with_suffix(".png"))
    return grade


def format_table(grade: Grade, target: Target) -> str:
    """Format the grade as lines for a terminal."""
    lines, missed = [f"{'':12}reached  required"], grade.missed(target)
    for name, value in asdict(grade).items():
        required = f"{target.required[name]:8.0%}" if name in target.required else f"{'—':>8}"
        lines.append(f"{name:12}{value:7.1%}  {required}{'   missed' if name in missed else ''}")
    return "\n".join(lines)


def _share(values: Iterable[bool]) -> float:
    results = list(values)
    return round(sum(results) / len(results), 4)
