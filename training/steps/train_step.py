"""The training steps of one adapter, exactly resumable.

Nothing random has a state (see ``training.steps.batches``). What a checkpoint holds is therefore the weights, the optimizer, the
average and the number of steps done.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from foundation.errors import StageFailed
from training.encoding.examples import Examples
from training.model import adapter, learned_tokens, optimizers
from training.model.adapted_model import AdaptedModel
from training.model.ema import EMA
from training.model.lr_schedule import rate_at
from training.model.objective import add_noise, loss_weights, not_finite, squared_errors, target
from training.recipe import Recipe
from training.steps.batches import Batch, BatchSampler
from training.steps.checkpoints import Checkpoint
from training.steps.passes import Pass, Passes, missing


@dataclass(frozen=True)
class Report:
    """What one step came to. Losses are weighted squared errors; ``prior`` is 0 without prior preservation.

    A step ``is_left_out`` when its scaled gradients overflowed, which happens in fp16 alone.
    """

    step: int
    loss: float
    prior: float
    gradient_norm: float
    rate: float
    is_left_out: bool = False


class TrainStep:
    """One step after another, from a checkpoint or from the start."""

    def __init__(
        self, recipe: Recipe, base: AdaptedModel, accelerator: Accelerator, examples: Examples, prior: Examples | None
    ) -> None:
        self._recipe, self._base, self._accelerator = recipe, base, accelerator
        self._parameters = adapter.trained(base.adapted)
        optimizer = optimizers.make(recipe.optimizer, _groups(base, recipe))
        # Weights that are divided among processes are not wrapped: the adapter's gradients are then exchanged here.
        self._adapted = base.adapted if recipe.shard else accelerator.prepare(base.adapted)
        self._optimizer = accelerator.prepare(optimizer)
        self._sampler = BatchSampler(
            recipe, examples, prior, len(base.levels), accelerator.process_index, accelerator.num_processes
        )
        self._passes = Passes(recipe, base, self._sampler, accelerator)
        self._scaler = torch.amp.GradScaler(accelerator.device.type, enabled=recipe.precision == "fp16")
        self.average = EMA(self._parameters, recipe.adapter.ema_decay)

    def steps_after(self, done: int) -> Iterator[Report]:
        """Make and report every step still to do when ``done`` are."""
        for step in range(done, self._recipe.steps):
            yield self.step(step)

    def adapter(self) -> dict[str, Tensor]:
        """The weights to export as they are now, by PEFT name, on the CPU."""
        with self.average.in_place():
            return adapter.weights(self._base.parts)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps to go on from."""
        return {
            "weights": adapter.state(self._base.parts),
            "optimizer": self._optimizer.state_dict(),
            "average": self.average.state(),
            "scaler": self._scaler.state_dict(),
        }

    def checkpoint_bytes(self) -> int:
        """What one checkpoint takes at most: what is exported, the weights, their average and two moments of each."""
        return 5 * sum(each.numel() * each.element_size() for each in self._parameters)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from ``checkpoint``."""
        state = checkpoint.training()
        adapter.load(self._base.parts, state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.average.load(state["average"])
        self._scaler.load_state_dict(state["scaler"])

    def release(self) -> None:
        """Let go of the wrapper through which processes share gradients; no step can follow.

        It must be gone before the process group is: a group that dies with its last wrapper waits, with Python's lock held, for a
        thread that waits for that lock, and now and then a run of several processes would never leave.
        """
        self._adapted = None
        self._accelerator.free_memory()

    def step(self, step: int) -> Report:
        """Make one step."""
        rate = rate_at(step, self._recipe.steps, self._recipe.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["share"]
        passes = self._passes.of(step)
        more = missing(self._accelerator, len(passes)) if self._recipe.shard else 0
        sums = torch.zeros(2, device=self._accelerator.device)
        for number, each in enumerate(passes, start=1):
            # Processes exchange their gradients once, with the last.
            is_last = number == len(passes) or self._recipe.shard
            together = contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._adapted)
            with together:
                sums += self._learn_from(each, step)
        for _ in range(more):
            self._learn_from(passes[-1], step, share=0.0)
        if self._recipe.shard:
            self._exchange_gradients()
        self._scaler.unscale_(self._optimizer)
        norm = float(self._accelerator.clip_grad_norm_(self._parameters, self._recipe.optimizer.max_grad_norm))
        # Scaled gradients overflow now and then until the scale has settled; anything else is a fault.
        is_left_out = not math.isfinite(norm) and self._scaler.get_scale() > 1
        if not math.isfinite(norm) and not is_left_out:
            raise self._not_finite(step, [each.batch for each in passes])
        loss, prior = self._accelerator.reduce(sums, "mean").tolist()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if not is_left_out:
            self.average.update()
        return Report(step + 1, loss, prior, norm if math.isfinite(norm) else 0.0, rate, is_left_out)

    def _exchange_gradients(self) -> None:
        """Give every process the mean of all gradients, in one message."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        means = self._accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
        for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _learn_from(self, one: Pass, step: int, share: float = 1.0) -> Tensor:
        """Add ``share`` of the gradients of one pass; its part of the step's losses, the concept's and the prior's (2,)."""
        batch, base, levels = one.batch, self._base, self._base.levels
        noisy = add_noise(batch.latents, batch.noise, levels, batch.timesteps)
        predicted = base.predict(noisy, batch.timesteps, batch.conditioning, wrapped=self._adapted)
        wanted = target(base.prediction, batch.latents, batch.noise, levels, batch.timesteps).clone()
        # What the base could do before it must still do.
        wanted[batch.prior] = one.kept.to(wanted.dtype)
        weights = loss_weights(base.prediction, levels, batch.timesteps, self._recipe.objective.min_snr_gamma)
        errors = squared_errors(predicted, wanted, batch.where) * weights
        if not errors.isfinite().all():
            raise self._not_finite(step, [batch], errors)
        # Processes take the mean of their gradients, so that each gives its own part that many times.
        loss = errors[~batch.prior].sum() * self._accelerator.num_processes / self._sampler.images_per_step
        prior = errors[batch.prior].sum() * self._accelerator.num_processes / max(1, self._sampler.prior_per_step)
        self._accelerator.backward(self._scaler.scale(share * (loss + self._recipe.prior.weight * prior)))
        return torch.stack([loss, prior]).detach()

    def _not_finite(self, step: int, batches: list[Batch], errors: Tensor | None = None) -> StageFailed:
        seen = [
            f"{name} at timestep {timestep}"
            for batch in batches
            for place, (name, timestep) in enumerate(zip(batch.names, batch.timesteps.tolist(), strict=True))
            if errors is None or not errors[place].isfinite()
        ]
        what = "gradient" if errors is None else "loss"
        return not_finite(f"step {step + 1}: the {what} is not finite ({', '.join(seen)})")


def _groups(base: AdaptedModel, whole: Recipe) -> list[dict[str, Any]]:
    """The trained weights as the optimizer takes them: text encoders and new tokens may learn at rates of their own."""
    recipe, text_components = whole.optimizer, base.adapted.text_components.values()
    tokens = [rows for part in text_components if (rows := learned_tokens.of(part)) is not None]
    text = [each for part in text_components for each in adapter.trained(part) if not any(each is rows for rows in tokens)]
    # Of weights that begin as the base's own, decay would take the base away; of vectors, what makes them words.
    kept = {"weight_decay": 0.0}
    groups = [
        {"params": adapter.trained(base.parts[base.family.denoiser_component]), "share": 1.0},
        {"params": text, "share": (recipe.text_encoder_lr or recipe.lr) / recipe.lr},
        {"params": tokens, "share": (recipe.token_lr or recipe.lr) / recipe.lr, **kept},
    ]
    return [{**group, **(kept if whole.adapter.initialization == "pissa" else {})} for group in groups if group["params"]]
