"""How well the adapter predicts images it was not trained on, always with the same noise and at the same times.

A training loss says little: it varies with the times that are drawn, and goes on falling while images are memorized. Here the
noise is fixed, each stratum of times is reported separately, and every error is compared with the base's own for the same noise.
"""

from functools import cached_property
from typing import Literal

import torch
from scipy import stats
from torch import Tensor

from foundation.seeds import derive
from training.encoding.encoded_examples import Examples
from training.model.adapted_model import AdaptedModel
from training.model.objective import draw_noise, not_finite, squared_errors
from training.recipe import Recipe
from training.validation.records import Interval, Stratum, Validation

CONFIDENCE = 0.95

Side = Literal["trained", "held out"]


class Validator:
    """Validates the adapter as it is on the held-out images, and on as many trained ones."""

    def __init__(self, recipe: Recipe, base: AdaptedModel, trained: Examples, held_out: Examples) -> None:
        self._recipe, self.base = recipe, base
        count = min(len(trained), max(4, len(held_out)))
        self._examples: dict[Side, Examples] = {"trained": trained.take(range(count)), "held out": held_out}

    @cached_property
    def times(self) -> list[int]:
        """The middle of each stratum."""
        return self.base.process.strata(self._recipe.validation.strata)

    def validate(self, step: int) -> Validation:
        """Return the validation after ``step`` steps; the first call also computes the base's errors."""
        errors, base_errors = self._errors("held out"), self._base_errors["held out"]
        change = errors - base_errors
        trained_change = self._errors("trained") - self._base_errors["trained"]
        return Validation(
            step=step,
            images=len(errors),
            loss=_interval(errors.mean(dim=1)),
            change=_interval(change.mean(dim=1)),
            gap=round(float(change.mean() - trained_change.mean()), 8),
            strata=tuple(
                Stratum(timestep=time, loss=_interval(errors[:, index]), change=_interval(change[:, index]))
                for index, time in enumerate(self.times)
            ),
        )

    @cached_property
    def _base_errors(self) -> dict[Side, Tensor]:
        with self.base.adapter_disabled():
            return {side: self._errors(side) for side in self._examples}

    @torch.no_grad()
    def _errors(self, side: Side) -> Tensor:
        """The weighted errors (images, strata), each the mean over several noises."""
        examples = self._examples[side]
        errors = torch.stack([self._image_errors(examples, index, side) for index in range(len(examples))])
        if not_finite_at := (~errors.isfinite()).nonzero().tolist():
            index, stratum = not_finite_at[0]
            raise not_finite(f"the loss of {examples.names[index]}, {side}, is not finite at timestep {self.times[stratum]}")
        return errors

    def _image_errors(self, examples: Examples, index: int, side: str) -> Tensor:
        """One image's errors (strata,)."""
        process, noises = self.base.process, self._recipe.validation.noises
        image = examples.take([index])
        times = torch.tensor(self.times, device=self.base.device).repeat_interleave(noises)
        noise = torch.stack([self._noise(image, index, side, number) for number in range(len(times))]).to(self.base.device)
        size = self._recipe.batch_size
        chunks = [slice(start, start + size) for start in range(0, len(times), size)]
        errors = torch.cat([self._squared_errors(image, times[chunk], noise[chunk]) for chunk in chunks])
        weights = process.loss_weights(times, self._recipe.objective.min_snr_gamma)
        return (errors * weights).reshape(len(self.times), noises).mean(dim=1).cpu()

    def _squared_errors(self, image: Examples, times: Tensor, noise: Tensor) -> Tensor:
        """One image's squared errors (B,) at ``times`` (B,) with ``noise`` (B, C, h, w)."""
        repeated, process = image.take([0] * len(times)), self.base.process
        latents = torch.stack(repeated.latents)
        predicted = self.base.predict(process.add_noise(latents, noise, times), times, repeated.conditioning)
        return squared_errors(predicted, process.target(latents, noise, times), repeated.loss_mask())

    def _noise(self, image: Examples, index: int, side: str, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, "validation", side, index, number))
        return draw_noise(image.latents[0], 0.0, generator)


def _interval(values: Tensor) -> Interval:
    mean = round(float(values.mean()), 8)
    if len(values) < 2:
        return Interval(mean=mean, low=None, high=None)
    margin = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * float(values.std()) / len(values) ** 0.5
    return Interval(mean=mean, low=round(mean - margin, 8), high=round(mean + margin, 8))
