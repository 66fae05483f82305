"""The training steps of one adapter, exactly resumable.

No generator has a state (see ``training.steps.batches``). A checkpoint therefore holds the weights, the optimizer, the averaged
weights and the number of steps done.
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
from training.encoding.encoded_examples import Examples
from training.model import learned_tokens, optimizers, peft_adapter
from training.model.adapted_model import AdaptedModel
from training.model.ema import EMA
from training.model.lr_schedule import lr_at
from training.model.objective import not_finite, squared_errors
from training.recipe import Recipe
from training.steps.batches import Batch, BatchSampler
from training.steps.checkpoints import Checkpoint
from training.steps.passes import Pass, Passes, missing_passes


@dataclass(frozen=True)
class Report:
    """The result of one step. Losses are weighted squared errors; ``prior`` is 0 without prior preservation.

    A step ``is_left_out`` if its scaled gradients overflowed, which happens in fp16 alone.
    """

    step: int
    loss: float
    prior: float
    gradient_norm: float
    rate: float
    is_left_out: bool = False


class TrainStep:
    """Makes one step after another, from a checkpoint or from the start."""

    def __init__(
        self, recipe: Recipe, base: AdaptedModel, accelerator: Accelerator, examples: Examples, prior: Examples | None
    ) -> None:
        self._recipe, self._base, self._accelerator = recipe, base, accelerator
        self._parameters = peft_adapter.trained_parameters(base.adapted)
        optimizer = optimizers.make_optimizer(recipe.optimizer, _parameter_groups(base, recipe))
        # Sharded weights are not wrapped: the adapter's gradients are exchanged here then.
        self._adapted = base.adapted if recipe.shard else accelerator.prepare(base.adapted, device_placement=[False])
        self._optimizer = accelerator.prepare(optimizer)
        self._sampler = BatchSampler(recipe, examples, prior, base.process, accelerator.process_index, accelerator.num_processes)
        self._passes = Passes(recipe, base, self._sampler, accelerator)
        self._scaler = torch.amp.GradScaler(accelerator.device.type, enabled=recipe.precision == "fp16")
        self.ema = EMA(self._parameters, recipe.adapter.ema_decay)

    def steps_after(self, done: int) -> Iterator[Report]:
        """Make the steps after the first ``done``, and yield the report of each."""
        for step in range(done, self._recipe.steps):
            yield self.step(step)

    def adapter(self) -> dict[str, Tensor]:
        """Return the weights to export as they are now, by PEFT name, on the CPU."""
        with self.ema.in_place():
            return peft_adapter.exported_weights(self._base.components, self._base.family)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores to resume from."""
        return {
            "weights": peft_adapter.training_state(self._base.components),
            "optimizer": self._optimizer.state_dict(),
            "ema": self.ema.state(),
            "scaler": self._scaler.state_dict(),
        }

    def checkpoint_bytes(self) -> int:
        """Return an upper bound of a checkpoint's size: exported weights, weights, averaged weights and two moments of each."""
        return 5 * sum(parameter.numel() * parameter.element_size() for parameter in self._parameters)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from ``checkpoint``."""
        state = checkpoint.training()
        peft_adapter.load_training_state(self._base.components, state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state(state["ema"])
        self._scaler.load_state_dict(state["scaler"])

    def release(self) -> None:
        """Free the wrapper through which processes share gradients; no step can follow.

        It must be freed before the process group is: a group that is destroyed with its last wrapper waits, with Python's lock
        held, for a thread that waits for that lock, and now and then a run of several processes would never exit.
        """
        self._adapted = None
        self._accelerator.free_memory()

    def step(self, step: int) -> Report:
        """Make one step."""
        rate = lr_at(step, self._recipe.steps, self._recipe.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        passes = self._passes.passes_of(step)
        extra = missing_passes(self._accelerator, len(passes)) if self._recipe.shard else 0
        sums = torch.zeros(2, device=self._accelerator.device)
        for number, one_pass in enumerate(passes, start=1):
            # Processes exchange their gradients once, with the last pass.
            is_last = number == len(passes) or self._recipe.shard
            synchronization = contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._adapted)
            with synchronization:
                sums += self._backward(one_pass, step)
        for _ in range(extra):
            self._backward(passes[-1], step, scale=0.0)
        if self._recipe.shard:
            self._exchange_gradients()
        self._scaler.unscale_(self._optimizer)
        norm = float(self._accelerator.clip_grad_norm_(self._parameters, self._recipe.optimizer.max_grad_norm))
        # Scaled gradients overflow now and then until the scale has settled; anything else is an error.
        is_left_out = not math.isfinite(norm) and self._scaler.get_scale() > 1
        if not math.isfinite(norm) and not is_left_out:
            raise self._not_finite(step, [one_pass.batch for one_pass in passes])
        loss, prior = self._accelerator.reduce(sums, "mean").tolist()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if not is_left_out:
            self.ema.update()
        return Report(step + 1, loss, prior, norm if math.isfinite(norm) else 0.0, rate, is_left_out)

    def _exchange_gradients(self) -> None:
        """Replace every process's gradients by the mean of all, in one message."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        means = self._accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
        for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _backward(self, one_pass: Pass, step: int, scale: float = 1.0) -> Tensor:
        """Add the gradients of one pass, times ``scale``; return its part of the losses (2,): the concept's, the prior's."""
        batch, base, process = one_pass.batch, self._base, self._base.process
        noisy = process.add_noise(batch.latents, batch.noise, batch.times)
        predicted = base.predict(noisy, batch.times, batch.conditioning, wrapped=self._adapted)
        target = process.target(batch.latents, batch.noise, batch.times).clone()
        # On the prior's images the adapted model must predict what the base predicts.
        target[batch.prior] = one_pass.base_prediction.to(target.dtype)
        weights = process.loss_weights(batch.times, self._recipe.objective.min_snr_gamma)
        errors = squared_errors(predicted, target, batch.loss_mask) * weights
        if not errors.isfinite().all():
            raise self._not_finite(step, [batch], errors)
        # The mean of all processes' gradients is taken, so that each scales its part by their number.
        loss = errors[~batch.prior].sum() * self._accelerator.num_processes / self._sampler.images_per_step
        prior = errors[batch.prior].sum() * self._accelerator.num_processes / max(1, self._sampler.prior_per_step)
        self._accelerator.backward(self._scaler.scale(scale * (loss + self._recipe.prior.weight * prior)))
        return torch.stack([loss, prior]).detach()

    def _not_finite(self, step: int, batches: list[Batch], errors: Tensor | None = None) -> StageFailed:
        images = [
            f"{name} at timestep {time:g}"
            for batch in batches
            for index, (name, time) in enumerate(zip(batch.names, batch.times.tolist(), strict=True))
            if errors is None or not errors[index].isfinite()
        ]
        what = "gradient" if errors is None else "loss"
        return not_finite(f"step {step + 1}: the {what} is not finite ({', '.join(images)})")


def _parameter_groups(base: AdaptedModel, whole: Recipe) -> list[dict[str, Any]]:
    """The trained weights as the optimizer takes them: text encoders and learned tokens may have learning rates of their own."""
    recipe, text_encoders = whole.optimizer, base.adapted.text_components.values()
    tokens = [embeddings for encoder in text_encoders if (embeddings := learned_tokens.embeddings_of(encoder)) is not None]
    text = [
        parameter
        for encoder in text_encoders
        for parameter in peft_adapter.trained_parameters(encoder)
        if not any(parameter is embeddings for embeddings in tokens)
    ]
    # Decay of weights that start as the base's own would remove the base; decay of embeddings would remove their meaning.
    no_decay = {"weight_decay": 0.0}
    denoiser = base.components[base.family.denoiser_component]
    groups = [
        {"params": peft_adapter.trained_parameters(denoiser), "lr_scale": 1.0},
        {"params": text, "lr_scale": (recipe.text_encoder_lr or recipe.lr) / recipe.lr},
        {"params": tokens, "lr_scale": (recipe.token_lr or recipe.lr) / recipe.lr, **no_decay},
    ]
    return [{**group, **(no_decay if whole.adapter.initialization == "pissa" else {})} for group in groups if group["params"]]
