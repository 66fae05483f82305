"""Distillation of the few-step denoiser: the miniature's UNet learns to predict the end of its own sampling, guidance included.

Latent consistency distillation (arXiv 2310.04378): at each timestep the student predicts the latents at which sampling ends, and
that prediction has to agree with its own prediction one guided step of its teacher later. The target comes from the student
itself, without an EMA copy (arXiv 2310.14189), and the student keeps predicting the noise, so that every scheduler for SDXL-Turbo
can sample from it.
"""

from copy import deepcopy
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from miniature.architectures.base import choose_attention, tokenize
from miniature.architectures.sdxl import SDXL, encode_text
from miniature.denoiser import Batch, draw_batch
from miniature.loop import Schedule, Task, Tensors, train
from miniature.objective import TIMESTEPS, NoiseObjective
from training.model.objective import squared_errors
from zthumb.diffusion.ddpm import DDPM

SCHEDULE = Schedule(steps=1500, batch=16, rate=4e-4, average=0.998)
IMAGES = 15_000
"""Number of images whose noised latents the student sees; it learns from its teacher and not from them."""

GUIDANCE_SCALE = 5.0
"""The teacher's guidance scale, which is built into the student."""

STRIDE = 40
"""Timesteps of one teacher step: the teacher samples in 25 steps, as many as it is graded with."""

START_SHARE = 0.25
"""Share of a batch that starts where sampling starts, at pure noise.

Latents noised to that timestep still show their mean colour, and a student that relies on it finds none when it generates.
"""

HUBER = 0.03
"""Where the loss turns from squared to linear, as a distance over a whole image's latents (arXiv 2310.14189, section 3.3)."""


Conditioning = tuple[Tensor, Tensor, Tensor]
"""A UNet's conditioning for each image: text states, pooled embedding, size and crop."""


class Distillation(nn.Module):
    """The student and, frozen, everything that its targets need: its teacher and the text encoders."""

    caption_dropout_rate = SDXL.caption_dropout_rate
    sees_crops = SDXL.sees_crops
    objective = NoiseObjective()

    def __init__(self, pipeline: StableDiffusionXLPipeline, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.student: UNet2DConditionModel = deepcopy(pipeline.unet)
        self.teacher: UNet2DConditionModel = pipeline.unet.requires_grad_(False)
        self.text_encoder: CLIPTextModel = pipeline.text_encoder.requires_grad_(False)
        self.text_encoder_2: CLIPTextModelWithProjection = pipeline.text_encoder_2.requires_grad_(False)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Return the tokens (B, 77) of ``captions``."""
        return tokenize(self.tokenizer, captions)

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens (B, 77) as text states (B, 77, 256) and the pooled embedding (B, 128), without gradients."""
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
    """Distil the UNet of ``base`` on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``.

    A killed distillation resumes from its checkpoint in ``folder``.
    """
    pipeline = StableDiffusionXLPipeline.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    model = Distillation(pipeline, tokenizer)
    choose_attention(device, model.student, model.teacher, model.text_encoder, model.text_encoder_2)
    process = model.objective.process(device)

    def batch_at(step: int) -> Tensors:
        return draw_batch("distillation", model, latents, seed, step, schedule.batch)

    task = Task(batch_at, _Loss(model.to(device), process))
    return train("distillation", model, task, schedule, folder / "distillation.pt", device).student


class _Loss(nn.Module):
    """The distance between the student's prediction and its prediction one guided teacher step later."""

    def __init__(self, model: Distillation, process: DDPM) -> None:
        super().__init__()
        self.model, self.process = model, process

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the loss over the tensors of a ``Batch``."""
        batch, process, size = Batch(*tensors), self.process, len(tensors[0])
        conditioning = (*self.model.encode_text(batch.tokens), batch.time_ids)
        is_start = torch.arange(size, device=batch.latents.device) < round(START_SHARE * size)
        timesteps = batch.times.masked_fill(is_start, TIMESTEPS - 1)
        noised = process.add_noise(batch.latents, batch.noise, timesteps)
        noisy = torch.where(is_start[:, None, None, None], batch.noise, noised)
        noise = _predict_noise(self.model.student, noisy, timesteps, conditioning)
        predicted = _clean_latents(noise, noisy, timesteps, process)
        with torch.no_grad():
            target = _target(self.model, noisy, timesteps, conditioning, process)
        distances = squared_errors(predicted, target, batch.loss_weights)
        loss: Tensor = ((distances + HUBER**2).sqrt() - HUBER).mean()
        return loss


def _target(model: Distillation, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, process: DDPM) -> Tensor:
    """Return the student's prediction after one step of the teacher; at timestep 0, the latents of that step themselves."""
    next_timesteps = (timesteps - STRIDE).clamp(min=0)
    guided = _guided_noise(model.teacher, noisy, timesteps, conditioning)
    next_latents = process.add_noise(_clean_latents(guided, noisy, timesteps, process), guided, next_timesteps)
    noise = _predict_noise(model.student, next_latents, next_timesteps, conditioning)
    predicted = _clean_latents(noise, next_latents, next_timesteps, process)
    return torch.where((next_timesteps == 0)[:, None, None, None], next_latents, predicted)


def _guided_noise(teacher: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """Return the teacher's noise under classifier-free guidance (arXiv 2207.12598); SDXL's empty conditioning is zeros."""
    states, pooled, time_ids = conditioning
    doubled = (
        torch.cat([states, torch.zeros_like(states)]),
        torch.cat([pooled, torch.zeros_like(pooled)]),
        time_ids.repeat(2, 1),
    )
    with_prompt, without = _predict_noise(teacher, noisy.repeat(2, 1, 1, 1), timesteps.repeat(2), doubled).chunk(2)
    return without + GUIDANCE_SCALE * (with_prompt - without)


def _predict_noise(unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    states, pooled, time_ids = conditioning
    noise: Tensor = unet(noisy, timesteps, states, added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids}).sample
    return noise.float()


def _clean_latents(noise: Tensor, noisy: Tensor, timesteps: Tensor, process: DDPM) -> Tensor:
    """Return the clean latents that become ``noisy`` when ``noise`` is added at ``timesteps``."""
    alpha = process.alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
    return (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()
