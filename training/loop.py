"""The training steps of one adapter, exactly resumable.

Nothing random has a state: the pictures, noise, timesteps and dropped captions of a step are drawn from generators made for that
step from the recipe's seed. What a checkpoint holds is therefore the adapter, the optimizer and the number of steps done.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from foundation.errors import StageFailed
from foundation.seeds import derive
from training import checkpoints
from training.checkpoints import Checkpoint
from training.examples import Examples, joined, without_captions
from training.objective import add_noise, min_snr_weights, weighted_error
from training.rate import rate_at
from training.recipe import AdapterRecipe, Recipe
from training.run import Run
from zthumb.families.base import Family


@dataclass(frozen=True)
class Report:
    """What one step came to. Losses are min-SNR weighted squared errors; ``prior`` is 0 without prior preservation."""

    step: int
    loss: float
    prior: float
    gradient_norm: float
    rate: float


def attach_adapter(denoiser: Any, recipe: AdapterRecipe, family: Family, seed: int) -> None:
    """Put trainable fp32 LoRA weights onto the denoiser; B starts at zero, so that the adapted model starts as the base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "adapter"))
        denoiser.add_adapter(
            LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(family.lora_targets[recipe.targets]))
        )
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if denoiser.device.type == "cpu":
        # On a CPU the backward pass of fused attention takes twice as long as plain matrix products.
        denoiser.set_attn_processor(AttnProcessor())


class Loop:
    """Steps from the latest checkpoint, or from the start, to the recipe's end."""

    def __init__(
        self, recipe: Recipe, family: Family, denoiser: Any, levels: Tensor, examples: Examples, prior: Examples | None
    ) -> None:
        self._recipe, self._family, self._examples, self._prior = recipe, family, examples, prior
        self._accelerator = Accelerator(mixed_precision="no" if recipe.precision == "fp32" else recipe.precision)
        self._levels = levels.to(self._accelerator.device)
        self._parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay, betas=(0.9, 0.99)
        )
        self._denoiser, self._optimizer = self._accelerator.prepare(denoiser, optimizer)

    @property
    def steps(self) -> int:
        """How many steps the run has."""
        return self._recipe.steps

    @property
    def adapter(self) -> dict[str, Tensor]:
        """The adapter's weights by PEFT name, on the CPU."""
        weights = get_peft_model_state_dict(self._accelerator.unwrap_model(self._denoiser))
        return {name: weight.detach().cpu() for name, weight in weights.items()}

    def resume(self, run: Run, fingerprint: str) -> Iterator[Report]:
        """Yield a report for every step still to do, writing checkpoints on the way."""
        checkpoints.forget_others(run.checkpoints, fingerprint)
        first = self._restore(checkpoints.found(run.checkpoints))
        run.keep_metrics_before(first)
        for step in range(first, self._recipe.steps):
            yield self._step(step)
            done = step + 1
            if done % self._recipe.checkpoint_every == 0 or done == self._recipe.steps:
                state = self._optimizer.state_dict()
                checkpoints.save(run.checkpoints, done, fingerprint, self.adapter, state, self._recipe.keep_checkpoints)

    def _restore(self, found: list[Checkpoint]) -> int:
        if not found:
            return 0
        checkpoint = found[-1]
        set_peft_model_state_dict(self._accelerator.unwrap_model(self._denoiser), checkpoint.adapter())
        self._optimizer.load_state_dict(checkpoint.optimizer())
        return checkpoint.step

    def _step(self, step: int) -> Report:
        rate = rate_at(step, self._recipe.steps, self._recipe.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss, prior = self._losses(step)
        self._accelerator.backward(loss + self._recipe.prior.weight * prior)
        norm = self._accelerator.clip_grad_norm_(self._parameters, self._recipe.optimizer.clip_norm)
        report = Report(step + 1, loss.item(), prior.item(), float(norm), rate)
        if not math.isfinite(report.loss + report.prior + report.gradient_norm):
            raise StageFailed(
                f"step {step + 1}: the loss or its gradient is not finite ({report}). Lower optimizer.lr, or use precision: fp32."
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return report

    def _losses(self, step: int) -> tuple[Tensor, Tensor]:
        """The concept's loss and the prior's, from one pass through the denoiser."""
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, "step", step))
        batch = self._concept_batch(step, generator)
        count = len(batch)
        if self._prior is not None:
            chosen = torch.randint(len(self._prior), (self._recipe.prior.batch,), generator=generator).tolist()
            batch = joined(batch, self._prior.take(chosen))
        noise = torch.randn(batch.latents.shape, generator=generator).to(batch.latents)
        timesteps = torch.randint(len(self._levels), (len(batch),), generator=generator).to(self._levels.device)
        noisy = add_noise(batch.latents, noise, self._levels, timesteps)
        weights = min_snr_weights(self._levels, timesteps, self._recipe.objective.min_snr_gamma)
        predicted = self._predict(noisy, timesteps, batch)
        loss = weighted_error(predicted[:count], noise[:count], weights[:count])
        if self._prior is None:
            return loss, torch.zeros(())
        expected = self._base_prediction(noisy[count:], timesteps[count:], batch.take(range(count, len(batch))))
        return loss, weighted_error(predicted[count:], expected, weights[count:])

    def _concept_batch(self, step: int, generator: torch.Generator) -> Examples:
        """The step's pictures, each epoch in an order of its own, some without their captions."""
        places = range(step * self._recipe.batch, (step + 1) * self._recipe.batch)
        chosen = [self._order(place // len(self._examples))[place % len(self._examples)] for place in places]
        dropped = torch.rand(self._recipe.batch, generator=generator) < self._recipe.objective.caption_dropout
        return without_captions(self._examples.take(chosen), dropped)

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derive(self._recipe.seed, "order", epoch))
        order: list[int] = torch.randperm(len(self._examples), generator=generator).tolist()
        return order

    def _predict(self, noisy: Tensor, timesteps: Tensor, batch: Examples) -> Tensor:
        with self._accelerator.autocast():
            return self._family.predict(self._denoiser, noisy, timesteps, batch.conditioning)

    @torch.no_grad()
    def _base_prediction(self, noisy: Tensor, timesteps: Tensor, batch: Examples) -> Tensor:
        bare = self._accelerator.unwrap_model(self._denoiser)
        bare.disable_adapters()
        try:
            return self._predict(noisy, timesteps, batch)
        finally:
            bare.enable_adapters()
