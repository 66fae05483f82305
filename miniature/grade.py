"""The grade of the miniature: does an image show what its prompt asked for, read off the pixels by geometry?"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from tqdm import tqdm

from foundation.files import write_json
from foundation.seeds import derive
from miniature import geometry
from miniature.captions import full
from miniature.drawing import ImageArray
from miniature.world import Scene, random_scene

PROMPTS = 200
BATCH = 10


@dataclass(frozen=True)
class Bar:
    """What a model must reach, as shares of prompts, when it generates in ``steps`` steps with ``guidance_scale``."""

    steps: int
    guidance_scale: float
    required: Mapping[str, float]


BARS: Mapping[str, Bar] = MappingProxyType(
    {
        "mini-sdxl": Bar(25, 5.0, {"background": 0.97, "object": 0.95, "position": 0.95, "shape": 0.90}),
        "mini-sdxl-turbo": Bar(4, 0.0, {"background": 0.95, "shape": 0.80}),
    }
)
"""By the names of the models that are committed."""


@dataclass(frozen=True)
class Grade:
    """Share of prompts whose image shows the background colour, object colour, position and shape asked for, 0 … 1."""

    background: float
    object: float
    position: float
    shape: float

    def missed(self, bar: Bar) -> dict[str, float]:
        """The figures below the bar."""
        return {name: value for name, value in asdict(self).items() if value < bar.required.get(name, 0.0)}


def scenes(seed: int, count: int = PROMPTS) -> list[Scene]:
    """The scenes asked for; none of them was in the training set."""
    return [random_scene(random.Random(derive(seed, "grade", index))) for index in range(count)]


def generate(
    pipeline: StableDiffusionXLPipeline, wanted: list[Scene], seed: int, steps: int, guidance_scale: float
) -> list[ImageArray]:
    """One image for each scene, each from a CPU generator of its own."""
    images: list[ImageArray] = []
    pipeline.set_progress_bar_config(disable=True)
    for start in tqdm(range(0, len(wanted), BATCH), desc="grade", unit="batch"):
        chunk = wanted[start : start + BATCH]
        generators = [torch.Generator().manual_seed(derive(seed, "grade noise", start + place)) for place in range(len(chunk))]
        made = pipeline(
            [full(scene) for scene in chunk],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generators,
            output_type="np",
        )
        images += [np.rint(image * 255).astype(np.uint8) for image in made.images]
    return images


def judge(wanted: list[Scene], images: list[ImageArray]) -> Grade:
    """Compare what was asked with what is seen."""
    readings = [geometry.read(image) for image in images]
    pairs = list(zip(wanted, readings, strict=True))
    return Grade(
        background=_share(scene.background == seen.background for scene, seen in pairs),
        object=_share(scene.colour == seen.colour for scene, seen in pairs),
        position=_share(scene.position == seen.position for scene, seen in pairs),
        shape=_share(scene.shape == seen.shape for scene, seen in pairs),
    )


def contact_sheet(images: list[ImageArray], columns: int = 12, rows: int = 4) -> Image.Image:
    """The first images in rows; the last row need not be full."""
    chosen = images[: columns * rows]
    height, width, _ = chosen[0].shape
    sheet = Image.new("RGB", (width * min(columns, len(chosen)), height * -(-len(chosen) // columns)), "white")
    for place, image in enumerate(chosen):
        sheet.paste(Image.fromarray(image), (place % columns * width, place // columns * height))
    return sheet


def grade(model: Path, bar: Bar, seed: int, out: Path, count: int = PROMPTS) -> Grade:
    """Grade the weights in ``model`` as ``bar`` says and write ``out`` (JSON) with a contact sheet beside it."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    wanted = scenes(seed, count)
    images = generate(pipeline, wanted, seed, bar.steps, bar.guidance_scale)
    reached = judge(wanted, images)
    write_json(out, asdict(reached))
    contact_sheet(images).save(out.with_suffix(".png"))
    return reached


def table(reached: Grade, bar: Bar) -> str:
    """The grade as lines for a terminal."""
    lines, missed = [f"{'':12}reached  required"], reached.missed(bar)
    for name, value in asdict(reached).items():
        required = f"{bar.required[name]:8.0%}" if name in bar.required else f"{'—':>8}"
        lines.append(f"{name:12}{value:7.1%}  {required}{'   missed' if name in missed else ''}")
    return "\n".join(lines)


def _share(right: Iterable[bool]) -> float:
    values = list(right)
    return round(sum(values) / len(values), 4)
