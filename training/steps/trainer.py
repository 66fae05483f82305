"""A training run around its steps: checkpoints, validation, previews, and when it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from foundation.errors import Interrupted, StageFailed
from foundation.manifest import Stage
from training.model.objective import not_finite
from training.recipe import Recipe
from training.steps import checkpoints
from training.steps.interruption import Interruption
from training.steps.run import Run
from training.steps.train_step import Report, TrainStep
from training.validation import checkpoint_choice
from training.validation.previews import Previews
from training.validation.validator import Validator


@dataclass(frozen=True)
class Trainer:
    """Trains a run from its last checkpoint to its end. Only the main process writes; all processes stop together."""

    recipe: Recipe
    run: Run
    resume_key: Stage
    accelerator: Accelerator
    train_step: TrainStep
    validator: Validator | None
    previews: Previews

    def fit(self, on_report: Callable[[Report], None]) -> int:
        """Make all remaining steps and return the number of the last; ``on_report`` is called with each report.

        Raises ``Interrupted`` after SIGTERM or SIGINT, with a checkpoint of the step reached.
        """
        with Interruption().handle_signals() as interruption:
            done = self._restore()
            if done == 0:
                self._validate(0)
            if self._is_finished(done):
                return done
            for report in self.train_step.steps_after(done):
                done = report.step
                if self.accelerator.is_main_process:
                    on_report(report)
                is_due, is_stopped = self._is_due(done), self._agree(interruption.is_requested)
                if is_due:
                    self._validate(done)
                if is_due or is_stopped:
                    self._save(done)
                if is_due and self._is_finished(done):
                    break
                if is_stopped:
                    raise Interrupted(f"stopped after step {done}, which is kept; the same command goes on from there")
        return done

    def _restore(self) -> int:
        last = next(reversed(self.run.valid_checkpoints()), None)
        if last:
            self.train_step.restore(last)
        done = last.step if last else 0
        if self.accelerator.is_main_process:
            self.run.discard_after(done)
        self.accelerator.wait_for_everyone()
        return done

    def _is_due(self, done: int) -> bool:
        return done % self.recipe.checkpoint_every == 0 or done == self.recipe.steps

    def _validate(self, done: int) -> None:
        """Validate and generate previews with the weights that would be exported."""
        writes = self.accelerator.is_main_process
        # Where the base is sharded, no process can predict without the others.
        if writes or self.recipe.shard:
            with self.train_step.ema.in_place():
                if self.validator:
                    validation = self.validator.validate(done)
                    if writes:
                        self.run.log_validation(validation)
                        loss, change = validation.loss.mean, validation.change.mean
                        values = {"held_out_loss": loss, "held_out_change": change, "gap": validation.gap}
                        self.accelerator.log(values, step=done)
                self.previews.generate(done, self.run.previews if writes else None)
        self.accelerator.wait_for_everyone()

    def _save(self, done: int) -> None:
        if self.accelerator.is_main_process:
            folder, best = self.run.checkpoints, checkpoint_choice.lowest_loss(self.run.validations())
            adapter, state = self.train_step.adapter(), self.train_step.state()
            if not all(weight.isfinite().all() for weight in adapter.values()):
                raise not_finite(f"step {done}: a weight of the adapter is not finite")
            try:
                checkpoints.save(folder, done, self.resume_key, adapter, state)
            # torch and safetensors report a full disk in exceptions of their own.
            except (OSError, RuntimeError, SafetensorError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
                raise StageFailed(
                    f"{folder}: the checkpoint of step {done} cannot be written ({reason}). Those before it are as they "
                    "were; make room and run the same command again, which goes on from there."
                ) from None
            checkpoints.remove_old(folder, self.recipe.keep_checkpoints, best.step if best else None)
        self.accelerator.wait_for_everyone()

    def _is_finished(self, done: int) -> bool:
        is_last = done == self.recipe.steps or checkpoint_choice.should_stop(self.run.validations(), self.recipe.validation)
        return self._agree(is_last)

    def _agree(self, value: bool) -> bool:
        """The main process's value, in every process."""
        if self.accelerator.num_processes == 1:
            return value
        answers = [value]
        broadcast_object_list(answers)
        return answers[0]
