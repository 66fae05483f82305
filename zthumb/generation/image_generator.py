"""A loaded pipeline that generates: any number of images at a time, each from a generator of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foundation.errors import StageFailed
from zthumb import prompts
from zthumb.generation import schedulers
from zthumb.generation.conditioning import PromptConditioning
from zthumb.generation.latent_previewer import LatentPreviewer

if TYPE_CHECKING:
    from PIL import Image

    from zthumb.families.base import Family

_LOG = logging.getLogger("zthumb")

StepCallback = Callable[[int, Tensor], None]
"""Told the number of steps done after each, and the latents (B, channels, h, w); what it raises ends the generating."""


@dataclass(frozen=True)
class GenerationParams:
    """What one image is made from. Width and height in pixels, both multiples of 8; without a scheduler the base's own.

    ``prompt_parser`` says what marks in both prompts mean. ``original_size`` is the width and height that the base is told an
    image had before it was cut (arXiv 2307.01952, section 2.2); None: its own.
    """

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str | None = None
    prompt_parser: str = "plain"
    original_size: tuple[int, int] | None = None


class ImageGenerator:
    """Generates with ``pipeline``. Images larger than ``tile`` pixels are decoded in tiles, if it is given.

    ``spacing`` is where a scheduler's steps lie, if not where the base has them.
    """

    def __init__(self, pipeline: Any, family: Family, tile: int | None = None, spacing: str | None = None) -> None:
        self._pipeline, self._family, self._tile, self._spacing = pipeline, family, tile, spacing
        self._scheduler = pipeline.scheduler
        self._previewer = LatentPreviewer.of(pipeline, family)

    def generate(
        self,
        batch: Sequence[GenerationParams],
        watch: StepCallback = lambda _, __: None,
        words: Mapping[str, int] = MappingProxyType({}),
        tile: int | None = None,
    ) -> list[Image.Image]:
        """Generate ``images``, which differ in prompts and seeds alone; another ``tile`` than usual may be given.

        ``words`` are those that the text encoders know besides their own, with the tokens that stand for each. Raises
        ``StageFailed`` where the numbers of an image are not finite, in fp32 too: a black image is none.
        """
        latents = self._denoise(batch, watch, words)
        if not latents.isfinite().all() and self._is_half:
            _LOG.warning("numbers overflowed in half precision: the image is generated once more in fp32")
            latents = self._denoised_in_full_precision(batch, watch, words)
        if not latents.isfinite().all():
            raise StageFailed("the image's numbers are not finite, in fp32 too: a weight of an adapter is far too high.")
        # One at a time: as much memory as for one, and the same bits as alone.
        edge = tile or self._tile
        return [self._decode(latents[place : place + 1], edge) for place in range(len(latents))]

    @property
    def _is_half(self) -> bool:
        return bool(next(self._family.denoiser(self._pipeline).parameters()).dtype in (torch.float16, torch.bfloat16))

    def _denoised_in_full_precision(
        self, batch: Sequence[GenerationParams], watch: StepCallback, words: Mapping[str, int]
    ) -> Tensor:
        models = [getattr(self._pipeline, part) for part in self._family.adapted_components]
        before = [next(model.parameters()).dtype for model in models]
        try:
            for model in models:
                model.to(torch.float32)
            return self._denoise(batch, watch, words)
        finally:
            # Back and forth changes no bit: every half-precision number is one of fp32 too.
            for model, dtype in zip(models, before, strict=True):
                model.to(dtype)

    def _denoise(self, batch: Sequence[GenerationParams], watch: StepCallback, words: Mapping[str, int]) -> Tensor:
        first = batch[0]
        # A scheduler keeps its place in the schedule: each image gets a fresh one.
        self._pipeline.scheduler = schedulers.make(first.scheduler, self._scheduler, self._spacing)

        conditioning = PromptConditioning(batch, self._pipeline, self._family, words)

        def told(_: Any, step: int, __: Any, values: dict[str, Any]) -> dict[str, Any]:
            watch(step + 1, values["latents"])
            conditioning.go_on(step + 1, values)
            return values

        with conditioning.divided(self._family.denoiser(self._pipeline)):
            latents: Tensor = self._pipeline(
                **conditioning.told(),
                width=first.width,
                height=first.height,
                original_size=first.original_size and first.original_size[::-1],
                num_inference_steps=first.steps,
                guidance_scale=first.guidance_scale,
                generator=[torch.Generator().manual_seed(params.seed) for params in batch],
                output_type="latent",
                callback_on_step_end=told,
                callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "add_text_embeds"],
            ).images
        return latents

    def preview(self, latents: Tensor) -> Image.Image:
        """What latents (1, channels, h, w) look like, noise and all, as an image of h × w pixels; it may be asked any time."""
        return self._previewer.preview(latents)

    def unread(self, params: GenerationParams, words: Mapping[str, int]) -> str:
        """The end of the image's prompt that its parser does not read; empty when it reads all."""
        return prompts.get(params.prompt_parser).unread(params.prompt, self._pipeline, self._family, words)

    def _decode(self, latents: Tensor, tile: int | None) -> Image.Image:
        decoded = self._family.decode_images(self._pipeline, latents, tile)
        made: Image.Image = self._pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
        return made
