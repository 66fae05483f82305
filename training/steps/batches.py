"""What one pass through the denoiser learns from.

Everything random about an image in a batch is drawn from a generator of its own, made from the recipe's seed, the step and the
image's index in the step's whole batch. So no generator has a state to save, and a batch is the same however many processes and
passes it is divided among.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from foundation.seeds import derive
from training.encoding.encoded_examples import Examples, joined
from training.model.objective import draw_noise
from training.recipe import Recipe
from training.steps.order import images_of, steps_per_epoch
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.process import DiffusionProcess, TimeDistribution


@dataclass(frozen=True)
class Batch:
    """Images of one size: latents and noise (B, C, h, w), times (B,) and conditioning.

    ``loss_mask`` (B, 1, h, w) has a mean of one for each image; None without masks. ``prior`` (B,) marks the images on which the
    base's prediction is to be kept.
    """

    latents: Tensor
    noise: Tensor
    times: Tensor
    conditioning: Conditioning
    loss_mask: Tensor | None
    prior: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Drawn:
    noise: Tensor
    time: float
    is_dropped: bool


class BatchSampler:
    """Draws every batch of a run. The process of ``rank`` among ``world_size`` takes its own indices of each step's batch."""

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        prior: Examples | None,
        process: DiffusionProcess,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._recipe, self._own, self._prior, self._process = recipe, examples, prior, process
        self._rank, self._world_size = rank, world_size
        objective = recipe.objective
        self._times = TimeDistribution(
            objective.timesteps, objective.timestep_mean, objective.timestep_deviation, objective.timestep_shift
        )

    @property
    def images_per_step(self) -> int:
        """The number of the concept's images in a step, over all processes."""
        return self._recipe.batch_size * self._recipe.gradient_accumulation_steps * self._world_size

    @property
    def prior_per_step(self) -> int:
        """The number of the prior's images in a step, over all processes."""
        return self._recipe.prior.batch_size * self._recipe.gradient_accumulation_steps * self._world_size if self._prior else 0

    def passes(self, step: int) -> list[list[Batch]]:
        """Return this process's part of ``step``: for each accumulation its batches, one of each size."""
        count = self._recipe.gradient_accumulation_steps
        return [self._pass(step, self._rank * count + turn) for turn in range(count)]

    def _pass(self, step: int, turn: int) -> list[Batch]:
        indices = range(turn * self._recipe.batch_size, (turn + 1) * self._recipe.batch_size)
        order = images_of(step, self._sizes, self.images_per_step, self._recipe.seed)
        epoch = step // steps_per_epoch(self._sizes, self.images_per_step)
        turns = [order[index] for index in indices]
        examples = self._own.take([self._turns[number] for number in turns], [self._row(number, epoch) for number in turns])
        drawn = [self._draw("place", step, index, latents) for index, latents in zip(indices, examples.latents, strict=True)]
        if self._prior is not None:
            indices = range(turn * self._recipe.prior.batch_size, (turn + 1) * self._recipe.prior.batch_size)
            chosen = [self._prior_image(step, index) for index in indices]
            rows = [self._prior_row(step, index, image) for index, image in zip(indices, chosen, strict=True)]
            prior = self._prior.take(chosen, rows)
            pairs = zip(indices, prior.latents, strict=True)
            drawn += [self._draw("prior place", step, index, latents) for index, latents in pairs]
            examples = joined(examples, prior)
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, size in enumerate(examples.sizes):
            by_size[size].append(index)
        return [self._batch(examples.take(same), [drawn[index] for index in same], same) for same in by_size.values()]

    @cached_property
    def _turns(self) -> tuple[int, ...]:
        """The indices of an epoch's images, each as often as it is repeated."""
        repeats = self._own.repeats or (1,) * len(self._own)
        return tuple(index for index, count in enumerate(repeats) for _ in range(count))

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int], ...]:
        sizes = self._own.sizes
        return tuple(sizes[index] for index in self._turns)

    def _row(self, turn: int, epoch: int) -> int:
        """The caption of an image in its ``turn`` of an epoch: one of its own, drawn for this epoch."""
        rows = self._own.rows_of(self._turns[turn])
        return rows[derive(self._recipe.seed, "caption", epoch, turn) % len(rows)]

    def _prior_image(self, step: int, index: int) -> int:
        assert self._prior is not None
        return derive(self._recipe.seed, "prior picture", step, index) % len(self._prior)

    def _prior_row(self, step: int, index: int, image: int) -> int:
        assert self._prior is not None
        rows = self._prior.rows_of(image)
        return rows[derive(self._recipe.seed, "prior caption", step, index) % len(rows)]

    def _draw(self, name: str, step: int, index: int, latents: Tensor) -> _Drawn:
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, name, step, index))
        objective = self._recipe.objective
        return _Drawn(
            noise=draw_noise(latents, objective.noise_offset, generator),
            time=self._process.draw_time(self._times, (latents.shape[-2], latents.shape[-1]), generator),
            is_dropped=name == "place" and float(torch.rand((), generator=generator)) < objective.caption_dropout,
        )

    def _batch(self, examples: Examples, drawn: list[_Drawn], indices: list[int]) -> Batch:
        latents = torch.stack(examples.latents)
        device = latents.device
        return Batch(
            latents=latents,
            noise=torch.stack([image.noise for image in drawn]).to(device),
            times=torch.tensor([image.time for image in drawn], device=device),
            conditioning=examples.conditioning.override([image.is_dropped for image in drawn], self._own.unconditional),
            loss_mask=examples.loss_mask(),
            prior=torch.tensor([index >= self._recipe.batch_size for index in indices], device=device),
            names=examples.names,
        )
