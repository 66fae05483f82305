"""Preview images during training: the same prompts and noise at every checkpoint, below the base's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from foundation.files import atomic_file
from foundation.seeds import derive
from training.encoding.placement import on_device
from training.model.adapted_model import AdaptedModel
from training.recipe import Recipe
from zthumb.families.base import ImageSize

SHEET = "sheet.png"
_LABEL = 70


class Previews:
    """Generates the recipe's preview prompts into a run's folder."""

    def __init__(self, recipe: Recipe, base: AdaptedModel, pipeline: Any, trigger: str) -> None:
        self._recipe, self._base, self._pipeline = recipe, base, pipeline
        self._prompts = [prompt.replace("{trigger}", trigger) for prompt in recipe.previews.prompts]

    def generate(self, step: int, folder: Path | None) -> None:
        """Generate an image of every prompt after ``step`` steps, and write all steps' images onto one sheet in ``folder``.

        Without a folder nothing is written: a process that only takes part in another's computation.
        """
        if not self._prompts:
            return
        with on_device(self._pipeline, self._base.family.components, self._base.device):
            for number, prompt in enumerate(self._prompts, start=1):
                # The base itself, at step 0, has no learned tokens.
                image = self._image(prompt, number, self._base.learned_tokens if step else {})
                if folder is not None:
                    with atomic_file(folder / f"step-{step:06d}" / f"{number:02d}.png") as path:
                        image.save(path, "png")
        if folder is not None:
            _sheet(folder)

    def _image(self, prompt: str, number: int, learned_tokens: Mapping[str, int]) -> Image.Image:
        settings, size = self._recipe.previews, self._recipe.resolution
        is_mixed = self._base.precision != torch.float32
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, "preview", number))
        with torch.autocast(self._pipeline.device.type, self._base.precision, enabled=is_mixed):
            latents = self._base.family.sample(
                self._pipeline,
                [prompt],
                ImageSize.whole(size, size),
                settings.steps,
                settings.guidance_scale,
                [generator],
                learned_tokens,
            )
        # Outside autocast: SDXL's autoencoder overflows in fp16.
        decoded = self._base.family.decode_latents(self._pipeline, latents, settings.tile)[0]
        values = ((decoded + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
        return Image.fromarray(values.cpu().numpy())


def _sheet(folder: Path) -> None:
    """One row for each step, the base's first."""
    rows = [sorted(step.glob("*.png")) for step in sorted(folder.glob("step-*"))]
    with Image.open(rows[0][0]) as first:
        width, height = first.size
    sheet = Image.new("RGB", (_LABEL + width * len(rows[0]), height * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, paths in enumerate(rows):
        step = int(paths[0].parent.name.removeprefix("step-"))
        pen.text((6, row * height + height // 2), f"step {step}" if step else "base", fill="black")
        for column, path in enumerate(paths):
            with Image.open(path) as image:
                sheet.paste(image, (_LABEL + column * width, row * height))
    with atomic_file(folder / SHEET) as path:
        sheet.save(path, "png")
