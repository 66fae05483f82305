"""From noise to latents: one loop over a scheduler's timesteps for every model family.

It does what the families' diffusers pipelines do between encoding and decoding, with the same operations in the same order.
In addition it takes prompts that change from step to step and prompts of several parts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from zthumb.diffusion.guidance import Guidance, compose
from zthumb.diffusion.step_cache import StepCache

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning

Predict = Callable[[Tensor, Tensor, "Conditioning"], Tensor]
"""Noisy latents (B, C, h, w), times (B,) and conditioning → the denoiser's prediction (B, C, h, w)."""

StepCallback = Callable[[int, Tensor], None]
"""Called with the number of steps done and the latents (B, C, h, w) after each step; an exception it raises ends sampling."""


class StepConditioning(Protocol):
    """The conditioning of B images at each step, from 0."""

    def parts(self, step: int) -> Sequence[tuple[Conditioning, float]]:
        """Return the parts of the prompts, each with its weight; there is at least one."""

    def negative(self, step: int) -> Conditioning | None:
        """Return what guidance leads away from; None without guidance."""

    def changes_at(self, step: int) -> bool:
        """Return whether the prompts are others than at the step before."""


@dataclass(frozen=True)
class FixedConditioning:
    """A ``StepConditioning`` of whole prompts that stay the same."""

    conditioning: Conditioning
    without: Conditioning | None

    def parts(self, step: int) -> Sequence[tuple[Conditioning, float]]:  # noqa: ARG002
        """See ``StepConditioning``."""
        return [(self.conditioning, 1.0)]

    def negative(self, step: int) -> Conditioning | None:  # noqa: ARG002
        """See ``StepConditioning``."""
        return self.without

    def changes_at(self, step: int) -> bool:  # noqa: ARG002
        """See ``StepConditioning``."""
        return False


def draw_noise(shape: tuple[int, ...], generators: Sequence[torch.Generator], dtype: torch.dtype) -> Tensor:
    """Return noise (B, *shape), each image's drawn from its own CPU generator: the same on every device."""
    return torch.stack([torch.randn(shape, generator=generator, dtype=dtype) for generator in generators])


@torch.no_grad()
def sample(
    predict: Predict,
    scheduler: Any,
    noise: Tensor,
    conditioning: StepConditioning,
    steps: int,
    guidance: Guidance,
    generators: Sequence[torch.Generator],
    on_step: StepCallback = lambda _, __: None,
    predict_every: int = 1,
) -> Tensor:
    """Return the latents (B, C, h, w) that ``scheduler`` comes to from ``noise`` in ``steps``.

    ``scheduler`` is a fresh one of diffusers' with its timesteps set. ``generators`` draw the noise that ancestral ones add.
    Of the predictions after the first, one of ``predict_every`` is computed.
    """
    # Schedulers of flow matching begin at noise of deviation one, and scale nothing.
    latents: Tensor = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    options, cache = _step_options(scheduler, generators), StepCache(predict_every)
    # At once: each by itself would make the program wait for the GPU at each step.
    times = scheduler.timesteps.tolist()
    for step, timestep in enumerate(scheduler.timesteps):
        # Some schedulers take more evaluations than steps.
        place = min(step, steps - 1)
        now = guidance.at(place, steps)
        if conditioning.changes_at(place) or now.is_used != guidance.at(max(0, place - 1), steps).is_used:
            cache.forget()
        prediction = cache.extrapolate(step, len(times), times[step])
        if prediction is None:
            prediction = _predict(predict, scheduler, latents, timestep, conditioning, place, now)
            cache.add(times[step], prediction)
        latents = scheduler.step(prediction, timestep, latents, **options, return_dict=False)[0]
        on_step(min(step + 1, steps), latents)
    return latents


def _predict(
    predict: Predict,
    scheduler: Any,
    latents: Tensor,
    timestep: Tensor,
    conditioning: StepConditioning,
    step: int,
    guidance: Guidance,
) -> Tensor:
    """The prediction for one step, guided where there is a negative conditioning."""
    (first, weight), *others = conditioning.parts(step)
    negative = conditioning.negative(step)
    count = len(latents)
    is_whole = not others and weight == 1
    # What a prompt's parts add counts from the prediction without it, guided or not.
    if negative is None or (is_whole and not guidance.is_used):
        scaled = _scaled(scheduler, latents, timestep)
        return predict(scaled, timestep.expand(count), first)
    scaled, times = _scaled(scheduler, latents, timestep), timestep.expand(count)
    if guidance.in_one_pass:
        # Without the prompt first, as diffusers does.
        both = predict(torch.cat([scaled] * 2), timestep.expand(2 * count), negative.concat(first))
        without, with_prompt = both.chunk(2)
    else:
        without, with_prompt = (predict(scaled, times, given) for given in (negative, first))
    if not is_whole:
        predictions = [(predict(scaled, times, part), weight) for part, weight in others]
        with_prompt = compose(without, [(with_prompt, weight), *predictions])
    return guidance.combine(without, with_prompt)


def _scaled(scheduler: Any, latents: Tensor, timestep: Tensor) -> Tensor:
    """The latents as the denoiser takes them at that timestep."""
    if not hasattr(scheduler, "scale_model_input"):
        return latents
    scaled: Tensor = scheduler.scale_model_input(latents, timestep)
    return scaled


def _step_options(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    """The arguments that some schedulers' steps take."""
    accepted = inspect.signature(scheduler.step).parameters
    options = {"eta": 0.0, "generator": list(generators)}
    return {name: value for name, value in options.items() if name in accepted}
