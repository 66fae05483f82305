"""Parameters → images with a loaded pipeline: any number at a time, each from a generator of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foundation.errors import StageFailed
from zthumb.diffusion import schedulers
from zthumb.diffusion.sampling import StepCallback, draw_noise, sample
from zthumb.families.shared.components import Using, always_there
from zthumb.generation import prompts
from zthumb.generation.latent_previewer import LatentPreviewer
from zthumb.generation.parameters import GenerationParams
from zthumb.generation.prompt_schedule import PromptSchedule

if TYPE_CHECKING:
    from PIL import Image

    from zthumb.families.base import ModelFamily

_LOG = logging.getLogger("zthumb")


class ImageGenerator:
    """Generates with ``pipeline`` on ``device``. Images larger than ``tile`` pixels are decoded in tiles, if it is given.

    ``spacing`` is the schedulers' timestep spacing, if not the base's.
    """

    def __init__(
        self,
        pipeline: Any,
        family: ModelFamily,
        device: torch.device,
        tile: int | None = None,
        spacing: str | None = None,
        using: Using = always_there,
    ) -> None:
        self.pipeline, self._family, self._device, self._tile, self._spacing = pipeline, family, device, tile, spacing
        self._scheduler, self._using = pipeline.scheduler, using
        with using(family.image_components):
            self._previewer = LatentPreviewer.of(pipeline, family, device)

    def generate(
        self,
        batch: Sequence[GenerationParams],
        on_step: StepCallback = lambda _, __: None,
        learned_tokens: Mapping[str, int] = MappingProxyType({}),
        tile: int | None = None,
    ) -> list[Image.Image]:
        """Return an image for each of ``batch``, which differ in prompts and seeds alone; ``tile`` overrides the usual one.

        ``learned_tokens`` are words that the text encoders know besides their own, with the number of tokens of each. Raises
        ``StageFailed`` if latents are not finite, in fp32 too: a black image is never returned for one.
        """
        latents = self._denoise(batch, on_step, learned_tokens)
        if not latents.isfinite().all() and self._is_half:
            _LOG.warning("numbers overflowed in half precision: the image is generated once more in fp32")
            latents = self._denoise_in_full_precision(batch, on_step, learned_tokens)
        if not latents.isfinite().all():
            raise StageFailed("the image's numbers are not finite, in fp32 too: a weight of an adapter is far too high.")
        # One at a time: as much memory as for one, and the same bits as by itself.
        edge = tile or self._tile
        with self._using(self._family.image_components):
            return [self._decode(latents[index : index + 1], edge) for index in range(len(latents))]

    @property
    def _is_half(self) -> bool:
        return bool(next(self._family.denoiser(self.pipeline).parameters()).dtype in (torch.float16, torch.bfloat16))

    def _denoise_in_full_precision(
        self, batch: Sequence[GenerationParams], on_step: StepCallback, learned_tokens: Mapping[str, int]
    ) -> Tensor:
        models = [getattr(self.pipeline, component) for component in self._family.adapted_components]
        before = [next(model.parameters()).dtype for model in models]
        try:
            for model in models:
                model.to(torch.float32)
            return self._denoise(batch, on_step, learned_tokens)
        finally:
            # Back and forth changes no bit: every half-precision number is one of fp32 too.
            for model, dtype in zip(models, before, strict=True):
                model.to(dtype)

    def _denoise(self, batch: Sequence[GenerationParams], on_step: StepCallback, learned_tokens: Mapping[str, int]) -> Tensor:
        first, family, pipeline = batch[0], self._family, self.pipeline
        denoiser = family.denoiser(pipeline)
        with torch.no_grad(), self._using(family.text_components):
            conditioning = PromptSchedule(batch, pipeline, family, learned_tokens)
        generators = [torch.Generator().manual_seed(params.seed) for params in batch]
        noise = draw_noise(family.latent_shape(pipeline, first.height, first.width), generators, family.latents_dtype(pipeline))
        noise = noise.to(self._device)
        # A scheduler keeps its place in the schedule: each image gets a fresh one.
        scheduler = schedulers.make(first.scheduler, self._scheduler, self._spacing)
        family.set_timesteps(pipeline, scheduler, first.steps, noise)
        with self._using([family.denoiser_component]):
            return sample(
                predict=lambda noisy, times, given: family.predict(denoiser, noisy, times, given),
                scheduler=scheduler,
                noise=noise,
                conditioning=conditioning,
                steps=first.steps,
                guidance=first.guidance(family),
                generators=generators,
                on_step=on_step,
                predict_every=first.step_cache,
            )

    def preview(self, latents: Tensor) -> Image.Image:
        """Return what latents (1, channels, h, w) look like, noise and all, as an image of h × w pixels; at any time."""
        return self._previewer.preview(latents)

    def truncated_text(self, params: GenerationParams, learned_tokens: Mapping[str, int]) -> str:
        """Return the end of the image's prompt that the text encoders do not read; empty if they read it all."""
        parser = prompts.get(params.prompt_parser)
        return parser.truncated_text(params.prompt, self.pipeline, self._family, learned_tokens)

    def _decode(self, latents: Tensor, tile: int | None) -> Image.Image:
        decoded = self._family.decode_latents(self.pipeline, latents, tile)
        image: Image.Image = self.pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
        return image
