"""What one pass through the denoiser learns from.

Everything random about an image in a batch is drawn from a generator of its own, made from the recipe's seed, the step and the
image's place in the step's whole batch. So nothing random has a state to save, and a batch is the same however many processes
and passes it is divided among.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from foundation.seeds import derive
from training.encoding.examples import Examples, joined
from training.model.objective import draw_noise, draw_timestep
from training.recipe import Recipe
from training.steps.order import images_of, steps_per_epoch
from zthumb.families.base import Conditioning


@dataclass(frozen=True)
class Batch:
    """Images of one size: latents and noise (B, C, h, w), timesteps (B,), what the denoiser is told, and where it learns.

    ``where`` (B, 1, h, w) is of mean one for each image, None where all of every image counts. ``prior`` (B,) marks those on
    which the base's prediction is to be kept.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    conditioning: Conditioning
    where: Tensor | None
    prior: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Drawn:
    noise: Tensor
    timestep: int
    dropped: bool


class BatchSampler:
    """Draws every batch of a run. ``process`` of ``processes`` takes its own places of each step's batch."""

    def __init__(
        self, recipe: Recipe, examples: Examples, prior: Examples | None, timesteps: int, process: int = 0, processes: int = 1
    ) -> None:
        self._recipe, self._own, self._prior, self._timesteps = recipe, examples, prior, timesteps
        self._process, self._processes = process, processes

    @property
    def images_per_step(self) -> int:
        """How many of the concept's images a step takes over all processes."""
        return self._recipe.batch_size * self._recipe.gradient_accumulation_steps * self._processes

    @property
    def prior_per_step(self) -> int:
        """How many of the prior's."""
        return self._recipe.prior.batch_size * self._recipe.gradient_accumulation_steps * self._processes if self._prior else 0

    def passes(self, step: int) -> list[list[Batch]]:
        """The part of ``step`` that is this process's: for each accumulation its batches, one of each size."""
        return [
            self._pass(step, self._process * self._recipe.gradient_accumulation_steps + turn)
            for turn in range(self._recipe.gradient_accumulation_steps)
        ]

    def _pass(self, step: int, turn: int) -> list[Batch]:
        places = range(turn * self._recipe.batch_size, (turn + 1) * self._recipe.batch_size)
        order = images_of(step, self._sizes, self.images_per_step, self._recipe.seed)
        epoch = step // steps_per_epoch(self._sizes, self.images_per_step)
        turns = [order[place] for place in places]
        examples = self._own.take([self._turns[each] for each in turns], [self._row(each, epoch) for each in turns])
        drawn = [self._draw("place", step, place, each) for place, each in zip(places, examples.latents, strict=True)]
        if self._prior is not None:
            places = range(turn * self._recipe.prior.batch_size, (turn + 1) * self._recipe.prior.batch_size)
            chosen = [self._prior_image(step, place) for place in places]
            kept = self._prior.take(chosen, [self._prior_row(step, *each) for each in zip(places, chosen, strict=True)])
            drawn += [self._draw("prior place", step, place, each) for place, each in zip(places, kept.latents, strict=True)]
            examples = joined(examples, kept)
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, size in enumerate(examples.sizes):
            by_size[size].append(place)
        return [self._batch(examples.take(same), [drawn[place] for place in same], same) for same in by_size.values()]

    @cached_property
    def _turns(self) -> tuple[int, ...]:
        """The numbers of the images that an epoch has, each as often as it has it."""
        repeats = self._own.repeats or (1,) * len(self._own)
        return tuple(place for place, count in enumerate(repeats) for _ in range(count))

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int], ...]:
        sizes = self._own.sizes
        return tuple(sizes[place] for place in self._turns)

    def _row(self, turn: int, epoch: int) -> int:
        """The caption that an image is told by in its ``turn`` of an epoch: one of its own, drawn for this epoch."""
        rows = self._own.rows_of(self._turns[turn])
        return rows[derive(self._recipe.seed, "caption", epoch, turn) % len(rows)]

    def _prior_image(self, step: int, place: int) -> int:
        assert self._prior is not None
        return derive(self._recipe.seed, "prior picture", step, place) % len(self._prior)

    def _prior_row(self, step: int, place: int, image: int) -> int:
        assert self._prior is not None
        rows = self._prior.rows_of(image)
        return rows[derive(self._recipe.seed, "prior caption", step, place) % len(rows)]

    def _draw(self, name: str, step: int, place: int, latents: Tensor) -> _Drawn:
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, name, step, place))
        objective = self._recipe.objective
        return _Drawn(
            noise=draw_noise(latents, objective.noise_offset, generator),
            timestep=draw_timestep(objective, self._timesteps, generator),
            dropped=name == "place" and float(torch.rand((), generator=generator)) < objective.caption_dropout,
        )

    def _batch(self, examples: Examples, drawn: list[_Drawn], places: list[int]) -> Batch:
        latents = torch.stack(examples.latents)
        told, device = examples.conditioning, latents.device
        # SDXL's unconditional branch is told zeros.
        kept = torch.tensor([not each.dropped for each in drawn], device=device)
        return Batch(
            latents=latents,
            noise=torch.stack([each.noise for each in drawn]).to(device),
            timesteps=torch.tensor([each.timestep for each in drawn], device=device),
            conditioning=Conditioning(
                states=told.states * kept[:, None, None],
                pooled=told.pooled * kept[:, None],
                time_ids=told.time_ids,
                tokens=None if told.tokens is None else told.tokens.where(kept[:, None, None], -1),
            ),
            where=examples.where(),
            prior=torch.tensor([place >= self._recipe.batch_size for place in places], device=device),
            names=examples.names,
        )
