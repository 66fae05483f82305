"""The denoiser of a miniature, trained together with its text encoders on latents and captions."""

import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature.architectures.base import Architecture, choose_attention
from miniature.captions import vary
from miniature.focus import focus
from miniature.images import example
from miniature.loop import Schedule, Task, Tensors, train
from miniature.reading import answers
from miniature.tokenizer import LENGTH
from training.model.objective import add_noise, signal_to_noise, squared_errors

SCHEDULE = Schedule(steps=4000, batch=96, rate=1e-3)
FINISH = Schedule(steps=6000, batch=96, rate=8e-4)
"""A second cycle without the readers: the words are learned by then, and shapes go on gaining for long."""

READING_WEIGHT = 0.1
ZEROED_CAPTIONS = 0.05
TIMESTEPS = 1000
NOISE_SCHEDULE: Mapping[str, float | int | str] = MappingProxyType(
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": TIMESTEPS}
)
Trained = TypeVar("Trained", bound=Architecture)


class Batch(NamedTuple):
    """What one step learns from; everything but the noise is looked up, everything random is drawn from the step's seed."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    tokens: Tensor
    keep_text: Tensor
    time_ids: Tensor
    answers: Tensor
    focus: Tensor


class _Loss(nn.Module):
    """The error of the predicted noise, and of what the readers read while they are trained."""

    levels: Tensor

    def __init__(self, model: Architecture, levels: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("levels", levels)
        self.is_read = any(parameter.requires_grad for reader in model.readers for parameter in reader.parameters())

    def forward(self, *parts: Tensor) -> Tensor:
        """The loss over the tensors of a ``Batch``."""
        batch = Batch(*parts)
        text = self.model.encode_text(batch.tokens)
        noisy = add_noise(batch.latents, batch.noise, self.levels, batch.timesteps)
        predicted = self.model.predict(noisy, batch.timesteps, text, batch.keep_text, batch.time_ids)
        # The weights even out what a step can gain (arXiv 2310.08442): with equal or min-SNR weights the noisiest timesteps,
        # where the caption alone decides, hardly count.
        errors = squared_errors(predicted, batch.noise, batch.focus)
        denoising: Tensor = (errors * signal_to_noise(self.levels, batch.timesteps).rsqrt()).mean()
        return denoising + READING_WEIGHT * self.model.reading_loss(text, batch.answers) if self.is_read else denoising


def fit(
    name: str, model: Trained, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule
) -> Trained:
    """Train ``model`` on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, resuming from ``folder``."""
    device = next(model.parameters()).device
    choose_attention(device, model.unet, *model.text_encoders)
    levels = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod.to(device)

    def batch_at(step: int) -> Tensors:
        return draw_batch(name, latents, tokenizer, seed, step, schedule.batch, model.empty_captions)

    return train(name, model, Task(batch_at, _Loss(model, levels)), schedule, folder / f"{name}.pt", device)


def finish(
    name: str, model: Trained, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule
) -> Trained:
    """Train a trained ``model`` over a further schedule, without the readers."""
    for reader in model.readers:
        reader.requires_grad_(False)
    return fit(name, model, latents, tokenizer, seed, folder, schedule)


def draw_batch(
    name: str, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, step: int, size: int, empty_captions: float
) -> Batch:
    """The examples, captions, noise and timesteps of one step of the schedule called ``name``."""
    generator = torch.Generator().manual_seed(derive(seed, name, step))
    chosen = torch.randint(len(latents), (size,), generator=generator).tolist()
    rng = random.Random(derive(seed, f"{name} captions", step))
    examples = [example(seed, index) for index in chosen]
    captions = ["" if rng.random() < empty_captions else vary(each.scene, rng) for each in examples]
    padded = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return Batch(
        latents=latents[chosen],
        noise=torch.randn((size, *latents.shape[1:]), generator=generator),
        timesteps=torch.randint(TIMESTEPS, (size,), generator=generator),
        tokens=padded.input_ids,
        keep_text=torch.rand(size, generator=generator) >= ZEROED_CAPTIONS,
        time_ids=torch.tensor([each.time_ids for each in examples]),
        answers=answers([each.scene for each in examples]),
        focus=focus(examples),
    )
