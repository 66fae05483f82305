"""The few-step denoiser: the miniature's UNet taught to jump to the end of its own way, with the guidance built in.

Latent consistency distillation (arXiv 2310.04378): at each timestep the student says which latents the way will end at, and
that has to agree with what it says one guided step of its teacher further on. Its own words are the goal, without an averaged
copy (arXiv 2310.14189), and it goes on predicting the noise, so that every scheduler for SDXL-Turbo can sample it.
"""

from copy import deepcopy
from pathlib import Path

import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from miniature.architectures.base import choose_attention
from miniature.architectures.sdxl import SDXL, encode_text
from miniature.denoiser import NOISE_SCHEDULE, TIMESTEPS, Batch, draw_batch
from miniature.loop import Schedule, Task, Tensors, train
from training.model.objective import add_noise, squared_errors

SCHEDULE = Schedule(steps=1500, batch=16, rate=4e-4, average=0.998)
IMAGES = 15_000
"""Of how many images the student is shown noised latents; it learns from its teacher and not from them."""

GUIDANCE_SCALE = 5.0
"""What the teacher is guided by, and the student has built in."""

STRIDE = 40
"""Timesteps of one step of the teacher: its way has 25 steps, as many as it is graded with."""

START_SHARE = 0.25
"""Share of a batch that starts where sampling starts, at pure noise. Noised latents still show their mean colour there, and a
student that reads it there has nothing to read when it generates."""

HUBER = 0.03
"""Where the loss turns from squared to linear, as a distance over a whole image's latents (arXiv 2310.14189, section 3.3)."""


Told = tuple[Tensor, Tensor, Tensor]
"""What a UNet is told of each image: text states, pooled embedding, size and crop."""


class Distillation(nn.Module):
    """The student and, frozen, all that tells it what to say: its teacher and the text encoders."""

    def __init__(self, pipeline: StableDiffusionXLPipeline) -> None:
        super().__init__()
        self.student: UNet2DConditionModel = deepcopy(pipeline.unet)
        self.teacher: UNet2DConditionModel = pipeline.unet.requires_grad_(False)
        self.text_encoder: CLIPTextModel = pipeline.text_encoder.requires_grad_(False)
        self.text_encoder_2: CLIPTextModelWithProjection = pipeline.text_encoder_2.requires_grad_(False)

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, 77) → text states (B, 77, 256) and the pooled embedding (B, 128), without a gradient."""
        return encode_text(self.text_encoder, self.text_encoder_2, tokens)


def distil(
    base: Path,
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> UNet2DConditionModel:
    """Distil the UNet of ``base`` over scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``.

    A killed distillation goes on from what it left in ``folder``.
    """
    model = Distillation(StableDiffusionXLPipeline.from_pretrained(base, dtype=torch.float32, local_files_only=True))
    choose_attention(device, model.student, model.teacher, model.text_encoder, model.text_encoder_2)
    levels = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod.to(device)

    def batch_at(step: int) -> Tensors:
        return draw_batch("distillation", latents, tokenizer, seed, step, schedule.batch, SDXL.empty_captions)

    task = Task(batch_at, _Loss(model.to(device), levels))
    return train("distillation", model, task, schedule, folder / "distillation.pt", device).student


class _Loss(nn.Module):
    """How far what the student says is from what it says one guided step of the teacher further on."""

    levels: Tensor

    def __init__(self, model: Distillation, levels: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("levels", levels)

    def forward(self, *parts: Tensor) -> Tensor:
        """The loss over the tensors of a ``Batch``."""
        batch, levels, size = Batch(*parts), self.levels, len(parts[0])
        told = (*self.model.encode_text(batch.tokens), batch.time_ids)
        is_start = torch.arange(size, device=levels.device) < round(START_SHARE * size)
        timesteps = batch.timesteps.masked_fill(is_start, TIMESTEPS - 1)
        noised = add_noise(batch.latents, batch.noise, levels, timesteps)
        noisy = torch.where(is_start[:, None, None, None], batch.noise, noised)
        said = _ending(_predicted(self.model.student, noisy, timesteps, told), noisy, timesteps, levels)
        with torch.no_grad():
            wanted = _further_on(self.model, noisy, timesteps, told, levels)
        distances = squared_errors(said, wanted, batch.focus)
        loss: Tensor = ((distances + HUBER**2).sqrt() - HUBER).mean()
        return loss


def _further_on(model: Distillation, noisy: Tensor, timesteps: Tensor, told: Told, levels: Tensor) -> Tensor:
    """What the student says after one step of the teacher; at the end of the way, what is there."""
    earlier = (timesteps - STRIDE).clamp(min=0)
    guided = _guided(model.teacher, noisy, timesteps, told)
    nearer = add_noise(_ending(guided, noisy, timesteps, levels), guided, levels, earlier)
    says = _ending(_predicted(model.student, nearer, earlier, told), nearer, earlier, levels)
    return torch.where((earlier == 0)[:, None, None, None], nearer, says)


def _guided(teacher: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: Told) -> Tensor:
    """The teacher's noise under classifier-free guidance (arXiv 2207.12598); without a prompt SDXL sees zeros."""
    states, pooled, time_ids = told
    both = (torch.cat([states, torch.zeros_like(states)]), torch.cat([pooled, torch.zeros_like(pooled)]), time_ids.repeat(2, 1))
    with_prompt, without = _predicted(teacher, noisy.repeat(2, 1, 1, 1), timesteps.repeat(2), both).chunk(2)
    return without + GUIDANCE_SCALE * (with_prompt - without)


def _predicted(unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: Told) -> Tensor:
    states, pooled, time_ids = told
    noise: Tensor = unet(noisy, timesteps, states, added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids}).sample
    return noise.float()


def _ending(noise: Tensor, noisy: Tensor, timesteps: Tensor, levels: Tensor) -> Tensor:
    """The latents that ``noisy`` ends at if ``noise`` is what was added to them."""
    kept = levels[timesteps].reshape(-1, 1, 1, 1)
    return (noisy - (1 - kept).sqrt() * noise) / kept.sqrt()
