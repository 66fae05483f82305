"""Images generated while training goes on: the same prompts and noise at every checkpoint, the base's own above them."""

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

SHEET = "sheet.png"
_LABEL = 70


class Previews:
    """Generates the recipe's preview prompts into a run's folder."""

    def __init__(self, recipe: Recipe, base: AdaptedModel, pipeline: Any, trigger: str) -> None:
        self._recipe, self._base, self._pipeline = recipe, base, pipeline
        self._prompts = [prompt.replace("{trigger}", trigger) for prompt in recipe.previews.prompts]

    def generate(self, step: int, folder: Path | None) -> None:
        """Generate every prompt after ``step`` steps, and put all that were generated so far onto one sheet in ``folder``.

        Without a folder nothing is kept: a process that only helps another to generate.
        """
        if not self._prompts:
            return
        with on_device(self._pipeline, self._base.family.parts, self._base.levels.device):
            for number, prompt in enumerate(self._prompts, start=1):
                # The first is the base's own, which knows no new word.
                generated = self._image(prompt, number, self._base.words if step else {})
                if folder is not None:
                    with atomic_file(folder / f"step-{step:06d}" / f"{number:02d}.png") as path:
                        generated.save(path, "png")
        if folder is not None:
            _sheet(folder)

    def _image(self, prompt: str, number: int, words: Mapping[str, int]) -> Image.Image:
        settings, size = self._recipe.previews, self._recipe.resolution
        with torch.no_grad(), torch.autocast(self._pipeline.device.type, self._base.precision, enabled=self._is_mixed):
            states, pooled = self._base.family.encode_prompts(self._pipeline, [prompt], words)
            latents = self._pipeline(
                prompt_embeds=states.to(self._pipeline.dtype),
                pooled_prompt_embeds=pooled.to(self._pipeline.dtype),
                width=size,
                height=size,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                generator=torch.Generator().manual_seed(derive(self._recipe.seed, "preview", number)),
                output_type="latent",
            ).images
        # Outside autocast: SDXL's autoencoder overflows in fp16.
        decoded = self._base.family.decode_images(self._pipeline, latents, settings.tile)[0]
        values = ((decoded + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
        return Image.fromarray(values.cpu().numpy())

    @property
    def _is_mixed(self) -> bool:
        return self._base.precision != torch.float32


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
