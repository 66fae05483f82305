"""The passes of each step through the denoiser, and what the base alone predicts for the prior's images in them."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain

import torch
from accelerate import Accelerator
from torch import Tensor

from training.model.adapted_model import AdaptedModel
from training.recipe import Recipe
from training.steps.batches import Batch, BatchSampler


@dataclass(frozen=True)
class Pass:
    """A batch, and the base's prediction (P, C, h, w) for the P images of its prior, in their order."""

    batch: Batch
    base_prediction: Tensor


class Passes:
    """Makes the passes of one step after another.

    The base does not learn, and everything random about a step is known before it is made. So the base predicts for the prior's
    images of several steps in one call, never for more images than a pass has: few images a call leave a processor idle. Which
    steps share a call depends on their number alone, so that a run that is resumed between them makes the same calls.
    """

    def __init__(self, recipe: Recipe, base: AdaptedModel, batch_sampler: BatchSampler, accelerator: Accelerator) -> None:
        self._base, self._sampler, self._accelerator, self._is_sharded = base, batch_sampler, accelerator, recipe.shard
        # This many of the prior's batches have as many images as one pass.
        self._batches_per_call = 1 + recipe.batch_size // recipe.prior.batch_size
        steps_per_call = self._batches_per_call // recipe.gradient_accumulation_steps
        self._steps_per_call = max(1, steps_per_call) if batch_sampler.prior_per_step else 1
        self._passes: dict[int, list[Pass]] = {}

    def passes_of(self, step: int) -> list[Pass]:
        """Return the passes that this process makes in ``step``."""
        if step not in self._passes:
            first = step - step % self._steps_per_call
            steps = range(first, first + self._steps_per_call)
            batches = [list(chain(*self._sampler.passes(number))) for number in steps]
            self._passes = dict(zip(steps, self._make(batches), strict=True))
        return self._passes[step]

    def _make(self, steps: list[list[Batch]]) -> list[list[Pass]]:
        batches = list(chain(*steps))
        none = [batch.latents[:0] for batch in batches]
        predictions = iter(self._predictions(batches) if self._sampler.prior_per_step else none)
        return [[Pass(batch, next(predictions)) for batch in step] for step in steps]

    @torch.no_grad()
    def _predictions(self, batches: list[Batch]) -> list[Tensor]:
        """The base's predictions for the prior's images of each of ``batches``, those of one size in one call."""
        by_size: dict[torch.Size, list[int]] = defaultdict(list)
        for index, batch in enumerate(batches):
            if batch.prior.any():
                by_size[batch.latents.shape[2:]].append(index)
        size = self._batches_per_call
        calls = [indices[start : start + size] for indices in by_size.values() for start in range(0, len(indices), size)]
        extra = missing_passes(self._accelerator, len(calls)) if self._is_sharded else 0
        predictions = [batch.latents[:0] for batch in batches]
        with self._base.adapter_disabled():
            for indices in calls + calls[:1] * extra:
                predicted = self._predict([batches[index] for index in indices])
                counts = [int(batches[index].prior.sum()) for index in indices]
                for index, prediction in zip(indices, torch.split(predicted, counts), strict=True):
                    predictions[index] = prediction
        return predictions

    def _predict(self, batches: list[Batch]) -> Tensor:
        noisy = torch.cat([self._noisy(batch)[batch.prior] for batch in batches])
        times = torch.cat([batch.times[batch.prior] for batch in batches])
        conditioning = batches[0].conditioning.select(batches[0].prior)
        for batch in batches[1:]:
            conditioning = conditioning.concat(batch.conditioning.select(batch.prior))
        return self._base.predict(noisy, times, conditioning)

    def _noisy(self, batch: Batch) -> Tensor:
        return self._base.process.add_noise(batch.latents, batch.noise, batch.times)


def missing_passes(accelerator: Accelerator, count: int) -> int:
    """Return how many passes more another process makes, when all must make the same number.

    Call it before the first pass: processes communicate in a pass as well, and all must send the same messages in the same order.
    """
    counts = accelerator.gather(torch.tensor([count], device=accelerator.device))
    return int(counts.max()) - count
