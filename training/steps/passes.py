"""The passes of each step through the denoiser, and what the base alone predicts for the prior's images in them."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain

import torch
from accelerate import Accelerator
from torch import Tensor

from training.model.adapted_model import AdaptedModel
from training.model.objective import add_noise
from training.recipe import Recipe
from training.steps.batches import Batch, BatchSampler


@dataclass(frozen=True)
class Pass:
    """A batch, and the base's prediction (P, C, h, w) for the P images of its prior, in their order."""

    batch: Batch
    kept: Tensor


class Passes:
    """Gives the passes of one step after another.

    The base does not learn, and whatever is random about a step is known before it is made. So the base is asked for several
    steps' images at once, never for more than a step learns from: few images a pass leave much of a processor idle. Steps are
    taken together by their number, so that a run that goes on in their midst asks for the same ones.
    """

    def __init__(self, recipe: Recipe, base: AdaptedModel, batch_sampler: BatchSampler, accelerator: Accelerator) -> None:
        self._base, self._sampler, self._accelerator, self._is_shared = base, batch_sampler, accelerator, recipe.shard
        # So many of the prior's batches are as many images as one pass learns from.
        self._at_once = 1 + recipe.batch_size // recipe.prior.batch_size
        self._together = max(1, self._at_once // recipe.gradient_accumulation_steps) if batch_sampler.prior_per_step else 1
        self._known: dict[int, list[Pass]] = {}

    def of(self, step: int) -> list[Pass]:
        """The passes that this process makes in ``step``."""
        if step not in self._known:
            first = step - step % self._together
            steps = range(first, first + self._together)
            self._known = dict(zip(steps, self._asked([list(chain(*self._sampler.passes(each))) for each in steps]), strict=True))
        return self._known[step]

    def _asked(self, steps: list[list[Batch]]) -> list[list[Pass]]:
        batches = list(chain(*steps))
        kept = iter(self._predictions(batches) if self._sampler.prior_per_step else [batch.latents[:0] for batch in batches])
        return [[Pass(batch, next(kept)) for batch in step] for step in steps]

    @torch.no_grad()
    def _predictions(self, batches: list[Batch]) -> list[Tensor]:
        """What the base predicts for the prior's images in each of ``batches``, asked for those of one size together."""
        by_size: dict[torch.Size, list[int]] = defaultdict(list)
        for place, batch in enumerate(batches):
            if batch.prior.any():
                by_size[batch.latents.shape[2:]].append(place)
        asks = [same[at : at + self._at_once] for same in by_size.values() for at in range(0, len(same), self._at_once)]
        more = missing(self._accelerator, len(asks)) if self._is_shared else 0
        found = [batch.latents[:0] for batch in batches]
        with self._base.alone():
            for places in asks + asks[:1] * more:
                predicted = self._predict([batches[place] for place in places])
                counts = [int(batches[place].prior.sum()) for place in places]
                for place, part in zip(places, torch.split(predicted, counts), strict=True):
                    found[place] = part
        return found

    def _predict(self, batches: list[Batch]) -> Tensor:
        noisy = torch.cat([self._noisy(batch)[batch.prior] for batch in batches])
        timesteps = torch.cat([batch.timesteps[batch.prior] for batch in batches])
        told = batches[0].conditioning[batches[0].prior]
        for batch in batches[1:]:
            told += batch.conditioning[batch.prior]
        return self._base.predict(noisy, timesteps, told)

    def _noisy(self, batch: Batch) -> Tensor:
        return add_noise(batch.latents, batch.noise, self._base.levels, batch.timesteps)


def missing(accelerator: Accelerator, count: int) -> int:
    """How many passes more another process makes, when all must make the same.

    Asked before the first pass: in a pass the processes talk as well, and each must hear the others say the same thing.
    """
    counts = accelerator.gather(torch.tensor([count], device=accelerator.device))
    return int(counts.max()) - count
