"""How well the adapter predicts images it was not trained on, always at the same noise and timesteps.

A training loss says little: it jumps with the timesteps drawn and falls on while the images are learned by heart. Here the
noise is fixed, each stratum of timesteps is told apart, and every error is compared with the base's own at that very noise.
"""

from functools import cached_property
from typing import Literal

import torch
from scipy import stats
from torch import Tensor

from foundation.seeds import derive
from training.encoding.examples import Examples
from training.model.adapted_model import AdaptedModel
from training.model.objective import add_noise, draw_noise, loss_weights, not_finite, squared_errors, target
from training.recipe import Recipe
from training.validation.validation import Interval, Stratum, Validation

CONFIDENCE = 0.95


class Validator:
    """Looks at the held-out images, and at as many trained ones, with the adapter as it is now."""

    def __init__(self, recipe: Recipe, base: AdaptedModel, trained: Examples, held_out: Examples) -> None:
        self._recipe, self.base = recipe, base
        count = min(len(trained), max(4, len(held_out)))
        self._sides: dict[Literal["trained", "held out"], Examples] = {
            "trained": trained.take(range(count)),
            "held out": held_out,
        }

    @cached_property
    def timesteps(self) -> list[int]:
        """The middle of each stratum."""
        count, whole = self._recipe.validation.strata, len(self.base.levels)
        return [int((place + 0.5) * whole / count) for place in range(count)]

    def look(self, step: int) -> Validation:
        """Validate after ``step`` steps; the first look compares with the base, which is asked once."""
        held, held_base = self._errors("held out"), self._base_errors["held out"]
        change = held - held_base
        trained_change = self._errors("trained") - self._base_errors["trained"]
        return Validation(
            step=step,
            images=len(held),
            loss=_interval(held.mean(dim=1)),
            change=_interval(change.mean(dim=1)),
            gap=round(float(change.mean() - trained_change.mean()), 8),
            strata=tuple(
                Stratum(timestep=timestep, loss=_interval(held[:, place]), change=_interval(change[:, place]))
                for place, timestep in enumerate(self.timesteps)
            ),
        )

    @cached_property
    def _base_errors(self) -> dict[str, Tensor]:
        with self.base.alone():
            return {side: self._errors(side) for side in self._sides}

    @torch.no_grad()
    def _errors(self, side: Literal["trained", "held out"]) -> Tensor:
        """The weighted errors (images, strata), each the mean over several noises."""
        examples = self._sides[side]
        rows = [self._image(examples, place, side) for place in range(len(examples))]
        errors = torch.stack(rows)
        if wrong := (~errors.isfinite()).nonzero().tolist():
            place, stratum = wrong[0]
            raise not_finite(f"the loss of {examples.names[place]}, {side}, is not finite at timestep {self.timesteps[stratum]}")
        return errors

    def _image(self, examples: Examples, place: int, side: str) -> Tensor:
        """One image's errors (strata,)."""
        noises, levels = self._recipe.validation.noises, self.base.levels
        one = examples.take([place])
        timesteps = torch.tensor(self.timesteps, device=levels.device).repeat_interleave(noises)
        noise = torch.stack([self._noise(one, place, side, number) for number in range(len(timesteps))]).to(levels.device)
        starts = range(0, len(timesteps), self._recipe.batch_size)
        chunks = [slice(start, start + self._recipe.batch_size) for start in starts]
        errors = torch.cat([self._at(one, timesteps[chunk], noise[chunk]) for chunk in chunks])
        weights = loss_weights(self.base.prediction, levels, timesteps, self._recipe.objective.min_snr_gamma)
        return (errors * weights).reshape(len(self.timesteps), noises).mean(dim=1).cpu()

    def _at(self, one: Examples, timesteps: Tensor, noise: Tensor) -> Tensor:
        """One image's squared errors (B,) at ``timesteps`` (B,) with ``noise`` (B, C, h, w)."""
        repeated = one.take([0] * len(timesteps))
        latents = torch.stack(repeated.latents)
        noisy = add_noise(latents, noise, self.base.levels, timesteps)
        predicted = self.base.predict(noisy, timesteps, repeated.conditioning)
        wanted = target(self.base.prediction, latents, noise, self.base.levels, timesteps)
        return squared_errors(predicted, wanted, repeated.where())

    def _noise(self, one: Examples, place: int, side: str, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, "validation", side, place, number))
        return draw_noise(one.latents[0], 0.0, generator)


def _interval(values: Tensor) -> Interval:
    mean = round(float(values.mean()), 8)
    if len(values) < 2:
        return Interval(mean=mean, low=None, high=None)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * float(values.std()) / len(values) ** 0.5
    return Interval(mean=mean, low=round(mean - reach, 8), high=round(mean + reach, 8))
