"""Training of a miniature's denoiser together with its text encoders, on latents and captions."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from foundation.seeds import derive
from miniature.architectures.base import Architecture, choose_attention
from miniature.captions import random_caption
from miniature.loop import Schedule, Task, Tensors, train
from miniature.loss_weights import object_loss_weights
from miniature.objective import Objective
from miniature.probes import attribute_labels
from miniature.training_images import Example, draw_example, whole_image
from miniature.world import Scene
from training.model.objective import squared_errors
from zthumb.diffusion.process import DiffusionProcess

SCHEDULE = Schedule(steps=4000, batch=96, rate=1e-3)
FINISH_SCHEDULE = Schedule(steps=6000, batch=96, rate=8e-4)
"""A second cycle without the probes: by then the words are learned, while shapes keep improving for long."""

PROBE_WEIGHT = 0.1
ZEROED_TEXT_RATE = 0.05
_WORTH_COMPILING = 1000
"""Steps from which on compiling pays, which takes two minutes and makes a transformer's step a third shorter."""
ArchitectureT = TypeVar("ArchitectureT", bound=Architecture)


class Batch(NamedTuple):
    """The inputs of one step; everything but the noise is looked up, everything random is drawn from the step's seed."""

    latents: Tensor
    noise: Tensor
    times: Tensor
    tokens: Tensor
    keep_text: Tensor
    time_ids: Tensor
    labels: Tensor
    loss_weights: Tensor


class Learner(Protocol):
    """What determines the captions and times that a model is trained with."""

    @property
    def caption_dropout_rate(self) -> float:
        """Share of empty captions."""

    @property
    def sees_crops(self) -> bool:
        """Whether crops and enlarged images are among the examples."""

    @property
    def objective(self) -> Objective:
        """What is learned at which times."""

    def tokenize(self, captions: list[str]) -> Tensor:
        """Return the tokens (B, length) of ``captions``."""


@dataclass(frozen=True)
class Material:
    """The images that a model is trained on, by seed and index, and their captions.

    ``whole`` returns, of an index, that of an image which is no crop and not enlarged.
    """

    example: Callable[[int, int], Example] = draw_example
    whole: Callable[[int], int] = whole_image
    caption: Callable[[Scene, random.Random], str] = random_caption


WORLD = Material()


class _Loss(nn.Module):
    """The error of the prediction, plus the probes' loss while they are trained."""

    def __init__(self, model: Architecture, process: DiffusionProcess) -> None:
        super().__init__()
        self.model, self.process = model, process
        self.trains_probes = any(parameter.requires_grad for probe in model.probes for parameter in probe.parameters())

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the loss over the tensors of a ``Batch``."""
        batch = Batch(*tensors)
        text = self.model.encode_text(batch.tokens)
        noisy = self.process.add_noise(batch.latents, batch.noise, batch.times)
        predicted = self.model.predict(noisy, batch.times, text, batch.keep_text, batch.time_ids)
        target = self.process.target(batch.latents, batch.noise, batch.times)
        errors = squared_errors(predicted, target, batch.loss_weights)
        denoising: Tensor = (errors * self.model.objective.weights(self.process, batch.times)).mean()
        return denoising + PROBE_WEIGHT * self.model.probe_loss(text, batch.labels) if self.trains_probes else denoising


def fit(
    name: str,
    model: ArchitectureT,
    latents: Tensor,
    seed: int,
    folder: Path,
    schedule: Schedule,
    material: Material = WORLD,
) -> ArchitectureT:
    """Train ``model`` on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, resuming from ``folder``."""
    device = next(model.parameters()).device
    choose_attention(device, model.denoiser, *model.text_encoders)
    process = model.objective.process(device)
    if is_worth_compiling(device, schedule):
        model.compile_denoiser()

    def batch_at(step: int) -> Tensors:
        return draw_batch(name, model, latents, seed, step, schedule.batch, material)

    task = Task(batch_at, _Loss(model, process), model.matrices)
    return train(name, model, task, schedule, folder / f"{name}.pt", device)


def is_worth_compiling(device: torch.device, schedule: Schedule) -> bool:
    """Return whether so many steps on ``device`` take longer than compiling, which needs a compiler for C++."""
    return device.type == "cpu" and schedule.steps >= _WORTH_COMPILING and shutil.which("g++") is not None


def finish(
    name: str,
    model: ArchitectureT,
    latents: Tensor,
    seed: int,
    folder: Path,
    schedule: Schedule,
    material: Material = WORLD,
) -> ArchitectureT:
    """Train an already trained ``model`` over a further schedule, without the probes."""
    for probe in model.probes:
        probe.requires_grad_(False)
    return fit(name, model, latents, seed, folder, schedule, material)


def draw_batch(
    name: str, learner: Learner, latents: Tensor, seed: int, step: int, size: int, material: Material = WORLD
) -> Batch:
    """Draw the examples, captions, noise and times of one step of the schedule called ``name``."""
    generator = torch.Generator().manual_seed(derive(seed, name, step))
    indices = torch.randint(len(latents), (size,), generator=generator).tolist()
    if not learner.sees_crops:
        indices = [material.whole(index) for index in indices]
    rng = random.Random(derive(seed, f"{name} captions", step))
    examples = [material.example(seed, index) for index in indices]
    dropout_rate = learner.caption_dropout_rate
    captions = ["" if rng.random() < dropout_rate else material.caption(example.scene, rng) for example in examples]
    return Batch(
        latents=latents[indices],
        noise=torch.randn((size, *latents.shape[1:]), generator=generator),
        times=learner.objective.draw_times(size, generator),
        tokens=learner.tokenize(captions),
        keep_text=torch.rand(size, generator=generator) >= ZEROED_TEXT_RATE,
        time_ids=torch.tensor([example.time_ids for example in examples]),
        labels=attribute_labels([example.scene for example in examples]),
        loss_weights=object_loss_weights(examples),
    )
