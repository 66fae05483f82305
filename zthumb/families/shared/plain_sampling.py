"""From prompts to latents with a base's own scheduler, fixed prompts and constant guidance: what training and the trials need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zthumb.diffusion import sampling, schedulers

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ImageSize, ModelFamily


def sample(
    family: ModelFamily,
    pipeline: Any,
    prompts: Sequence[str],
    size: ImageSize,
    steps: int,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
    learned_tokens: Mapping[str, int],
) -> Tensor:
    """See ``ModelFamily.sample``."""
    denoiser, dtype, guidance = family.denoiser(pipeline), family.dtype(pipeline), family.guidance(guidance_scale)

    def complete(encoded: Conditioning) -> Conditioning:
        return family.with_guidance(denoiser, family.with_sizes(encoded, [size] * len(prompts)), guidance)

    with torch.no_grad():
        encoded = family.encode_prompts(pipeline, prompts, learned_tokens).to(dtype=dtype)
        negative = None
        if guidance.is_used:
            negative = complete(family.unconditional(pipeline, encoded).select([0] * len(prompts)))
    shape = family.latent_shape(pipeline, *size.target)
    noise = sampling.draw_noise(shape, generators, family.latents_dtype(pipeline)).to(pipeline.device)
    scheduler = schedulers.make(None, pipeline.scheduler)
    family.set_timesteps(pipeline, scheduler, steps, noise)
    return sampling.sample(
        predict=lambda noisy, times, given: family.predict(denoiser, noisy, times, given),
        scheduler=scheduler,
        noise=noise,
        conditioning=sampling.FixedConditioning(complete(encoded), negative),
        steps=steps,
        guidance=guidance,
        generators=generators,
    )
