"""Distillation of guidance: told a scale, mini-flux's transformer learns to predict what guidance makes of two predictions.

So FLUX.1 dev came about (arXiv 2210.03142). The two predictions, with and without the prompt, are those of the transformer as it
was before, always told a scale of one.
"""

from copy import deepcopy
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from foundation.seeds import derive
from miniature.architectures.base import matrices_inside
from miniature.architectures.flux import UNGUIDED, Flux, predict
from miniature.denoiser import Batch, draw_batch, is_worth_compiling
from miniature.loop import Schedule, Task, Tensors, train
from training.model.objective import squared_errors

SCHEDULE = Schedule(steps=2000, batch=32, rate=8e-4, average=0.998)
SCALES = (1.0, 6.0)
"""The scales that are told, drawn evenly."""
_NAME = "flux guidance"


def distil(
    teacher: Flux, latents: Tensor, seed: int, folder: Path, device: torch.device, schedule: Schedule = SCHEDULE
) -> FluxTransformer2DModel:
    """Return a transformer that follows the scale it is told, distilled from ``teacher`` on standardized ``latents``.

    A killed distillation resumes from its checkpoint in ``folder``.
    """
    model = _Distillation(teacher)
    if is_worth_compiling(device, schedule):
        model.student.compile()
        teacher.compile_denoiser()
    low, high = SCALES

    def batch_at(step: int) -> Tensors:
        generator = torch.Generator().manual_seed(derive(seed, f"{_NAME} scales", step))
        scales = low + (high - low) * torch.rand(schedule.batch, generator=generator)
        return (*draw_batch(_NAME, teacher, latents, seed, step, schedule.batch), scales)

    task = Task(batch_at, _Loss(model), matrices_inside(model.student))
    return train(_NAME, model, task, schedule, folder / "flux-guidance.pt", device).student


class _Distillation(nn.Module):
    """The student and, frozen, its teacher with the text encoders."""

    def __init__(self, teacher: Flux) -> None:
        super().__init__()
        self.student: FluxTransformer2DModel = deepcopy(teacher.transformer).requires_grad_(True)
        self.teacher = teacher.requires_grad_(False)


class _Loss(nn.Module):
    """The error of the student's prediction against its teacher's guided one."""

    def __init__(self, model: _Distillation) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the loss over the tensors of a ``Batch`` and the scales (B,)."""
        *drawn, scales = tensors
        batch, teacher = Batch(*drawn), self.model.teacher
        noisy = teacher.objective.process(batch.latents.device).add_noise(batch.latents, batch.noise, batch.times)
        with torch.no_grad():
            text = teacher.encode_text(batch.tokens)
            target = _guided(teacher, noisy, batch.times, text, scales)
        predicted = predict(self.model.student, noisy, batch.times, text, scales)
        return squared_errors(predicted, target, batch.loss_weights).mean()


def _guided(teacher: Flux, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], scales: Tensor) -> Tensor:
    """Return the teacher's prediction under classifier-free guidance (arXiv 2207.12598)."""
    empty = teacher.encode_text(teacher.tokenize([""]).to(noisy.device))
    both = tuple(torch.cat([given, without.expand_as(given)]) for given, without in zip(text, empty, strict=True))
    unguided = torch.full((2 * len(noisy),), UNGUIDED, device=noisy.device)
    with_prompt, without = predict(teacher.transformer, noisy.repeat(2, 1, 1, 1), times.repeat(2), both, unguided).chunk(2)
    return without + scales[:, None, None, None] * (with_prompt - without)
