"""A loaded pipeline that paints: any number of pictures at a time, each from a generator of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foundation.errors import StageFailed
from zthumb.painting import schedulers

if TYPE_CHECKING:
    from PIL import Image

    from zthumb.families.base import Family

Watch = Callable[[int], None]
"""Told the number of steps done after each; what it raises ends the painting."""


@dataclass(frozen=True)
class Picture:
    """What one picture is made from. Width and height in pixels, both multiples of 8; without a scheduler the base's own."""

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str | None = None


class Painter:
    """Paints with ``pipeline``. Pictures larger than ``tile`` pixels are decoded in tiles, if it is given.

    ``spacing`` is where a scheduler's steps lie, if not where the base has them.
    """

    def __init__(self, pipeline: Any, family: Family, tile: int | None = None, spacing: str | None = None) -> None:
        self._pipeline, self._family, self._tile, self._spacing = pipeline, family, tile, spacing
        self._scheduler = pipeline.scheduler

    def scheduler_name(self, asked: str | None) -> str:
        """The name of the scheduler that a picture with ``asked`` is painted with."""
        return asked or schedulers.name_of(self._scheduler)

    def paint(self, pictures: Sequence[Picture], watch: Watch = lambda _: None, tile: int | None = None) -> list[Image.Image]:
        """Paint ``pictures``, which differ in prompts and seeds alone; another ``tile`` than usual may be given.

        Raises ``StageFailed`` where the numbers of a picture are not finite, in fp32 too: a black picture is none.
        """
        latents = self._denoise(pictures, watch)
        if not latents.isfinite().all() and self._is_half:
            latents = self._denoised_in_full_precision(pictures, watch)
        if not latents.isfinite().all():
            raise StageFailed("the picture's numbers are not finite, in fp32 too: a weight of an adapter is far too high.")
        # One at a time: as much memory as for one, and the same bits as alone.
        edge = tile or self._tile
        return [self._decode(latents[place : place + 1], edge) for place in range(len(latents))]

    @property
    def _is_half(self) -> bool:
        return bool(next(self._family.denoiser(self._pipeline).parameters()).dtype in (torch.float16, torch.bfloat16))

    def _denoised_in_full_precision(self, pictures: Sequence[Picture], watch: Watch) -> Tensor:
        models = [getattr(self._pipeline, part) for part in self._family.adapted_parts]
        before = [next(model.parameters()).dtype for model in models]
        try:
            for model in models:
                model.to(torch.float32)
            return self._denoise(pictures, watch)
        finally:
            # Back and forth changes no bit: every half-precision number is one of fp32 too.
            for model, dtype in zip(models, before, strict=True):
                model.to(dtype)

    def _denoise(self, pictures: Sequence[Picture], watch: Watch) -> Tensor:
        first = pictures[0]
        # A scheduler keeps its place in the schedule: each picture gets a fresh one.
        self._pipeline.scheduler = schedulers.make(first.scheduler, self._scheduler, self._spacing)

        def told(_: Any, step: int, __: Any, values: dict[str, Any]) -> dict[str, Any]:
            watch(step + 1)
            return values

        latents: Tensor = self._pipeline(
            prompt=[picture.prompt for picture in pictures],
            negative_prompt=_negative_prompts(pictures),
            width=first.width,
            height=first.height,
            num_inference_steps=first.steps,
            guidance_scale=first.guidance_scale,
            generator=[torch.Generator().manual_seed(picture.seed) for picture in pictures],
            output_type="latent",
            callback_on_step_end=told,
        ).images
        return latents

    def _decode(self, latents: Tensor, tile: int | None) -> Image.Image:
        decoded = self._family.decode_pictures(self._pipeline, latents, tile)
        made: Image.Image = self._pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
        return made


def _negative_prompts(pictures: Sequence[Picture]) -> list[str] | None:
    # Without any the pipeline tells the denoiser zeros, which is not the same as an empty prompt.
    if all(picture.negative_prompt is None for picture in pictures):
        return None
    return [picture.negative_prompt or "" for picture in pictures]
