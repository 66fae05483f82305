"""Training of a miniature's denoiser together with its text encoders, on latents and captions."""

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
from miniature.captions import random_caption
from miniature.loop import Schedule, Task, Tensors, train
from miniature.loss_weights import object_loss_weights
from miniature.probes import attribute_labels
from miniature.tokenizer import MAX_LENGTH
from miniature.training_images import draw_example
from training.model.objective import squared_errors
from zthumb.diffusion.ddpm import DDPM

SCHEDULE = Schedule(steps=4000, batch=96, rate=1e-3)
FINISH_SCHEDULE = Schedule(steps=6000, batch=96, rate=8e-4)
"""A second cycle without the probes: by then the words are learned, while shapes keep improving for long."""

PROBE_WEIGHT = 0.1
ZEROED_TEXT_RATE = 0.05
TIMESTEPS = 1000
NOISE_SCHEDULE: Mapping[str, float | int | str] = MappingProxyType(
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": TIMESTEPS}
)
ArchitectureT = TypeVar("ArchitectureT", bound=Architecture)


class Batch(NamedTuple):
    """The inputs of one step; everything but the noise is looked up, everything random is drawn from the step's seed."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    tokens: Tensor
    keep_text: Tensor
    time_ids: Tensor
    labels: Tensor
    loss_weights: Tensor


class _Loss(nn.Module):
    """The error of the predicted noise, plus the probes' loss while they are trained."""

    def __init__(self, model: Architecture, process: DDPM) -> None:
        super().__init__()
        self.model, self.process = model, process
        self.trains_probes = any(parameter.requires_grad for probe in model.probes for parameter in probe.parameters())

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the loss over the tensors of a ``Batch``."""
        batch = Batch(*tensors)
        text = self.model.encode_text(batch.tokens)
        noisy = self.process.add_noise(batch.latents, batch.noise, batch.timesteps)
        predicted = self.model.predict(noisy, batch.timesteps, text, batch.keep_text, batch.time_ids)
        # The weights balance the possible gain of each timestep (arXiv 2310.08442): with equal or min-SNR weights the noisiest
        # timesteps, where the caption alone decides, contribute almost nothing.
        errors = squared_errors(predicted, batch.noise, batch.loss_weights)
        denoising: Tensor = (errors * self.process.signal_to_noise(batch.timesteps).rsqrt()).mean()
        return denoising + PROBE_WEIGHT * self.model.probe_loss(text, batch.labels) if self.trains_probes else denoising


def fit(
    name: str, model: ArchitectureT, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule
) -> ArchitectureT:
    """Train ``model`` on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, resuming from ``folder``."""
    device = next(model.parameters()).device
    choose_attention(device, model.unet, *model.text_encoders)
    process = noise_process(device)

    def batch_at(step: int) -> Tensors:
        return draw_batch(name, latents, tokenizer, seed, step, schedule.batch, model.caption_dropout_rate)

    return train(name, model, Task(batch_at, _Loss(model, process)), schedule, folder / f"{name}.pt", device)


def noise_process(device: torch.device) -> DDPM:
    """Return the diffusion process of every miniature that predicts noise, for tensors on ``device``."""
    return DDPM(DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod, "epsilon").to(device)


def finish(
    name: str, model: ArchitectureT, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule
) -> ArchitectureT:
    """Train an already trained ``model`` over a further schedule, without the probes."""
    for probe in model.probes:
        probe.requires_grad_(False)
    return fit(name, model, latents, tokenizer, seed, folder, schedule)


def draw_batch(
    name: str, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, step: int, size: int, caption_dropout_rate: float
) -> Batch:
    """Draw the examples, captions, noise and timesteps of one step of the schedule called ``name``."""
    generator = torch.Generator().manual_seed(derive(seed, name, step))
    indices = torch.randint(len(latents), (size,), generator=generator).tolist()
    rng = random.Random(derive(seed, f"{name} captions", step))
    examples = [draw_example(seed, index) for index in indices]
    captions = ["" if rng.random() < caption_dropout_rate else random_caption(example.scene, rng) for example in examples]
    tokenized = tokenizer(captions, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt")
    return Batch(
        latents=latents[indices],
        noise=torch.randn((size, *latents.shape[1:]), generator=generator),
        timesteps=torch.randint(TIMESTEPS, (size,), generator=generator),
        tokens=tokenized.input_ids,
        keep_text=torch.rand(size, generator=generator) >= ZEROED_TEXT_RATE,
        time_ids=torch.tensor([example.time_ids for example in examples]),
        labels=attribute_labels([example.scene for example in examples]),
        loss_weights=object_loss_weights(examples),
    )
