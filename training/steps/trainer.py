"""The trainer of a run around its steps: checkpoints, looks at held-out images, previews, and when it ends."""

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
from training.validation import selection
from training.validation.previews import Previews
from training.validation.validator import Validator


@dataclass(frozen=True)
class Trainer:
    """A run's way from where it is to its end. Only the main process writes; all of them stop together."""

    recipe: Recipe
    run: Run
    resume_key: Stage
    accelerator: Accelerator
    train_step: TrainStep
    validator: Validator | None
    previews: Previews

    def finish(self, show: Callable[[Report], None]) -> int:
        """Make every step still to do and return the number of the last; ``show`` sees each report.

        Raises ``Interrupted`` after SIGTERM or SIGINT, with a checkpoint of the step reached.
        """
        with Interruption().handle_signals() as interruption:
            done = self._restore()
            if done == 0:
                self._look(0)
            if self._is_over(done):
                return done
            for report in self.train_step.steps_after(done):
                done = report.step
                if self.accelerator.is_main_process:
                    show(report)
                is_due, is_wanted = self._is_due(done), self._together(interruption.is_wanted)
                if is_due:
                    self._look(done)
                if is_due or is_wanted:
                    self._save(done)
                if is_due and self._is_over(done):
                    break
                if is_wanted:
                    raise Interrupted(f"stopped after step {done}, which is kept; the same command goes on from there")
        return done

    def _restore(self) -> int:
        last = next(reversed(self.run.sound()), None)
        if last:
            self.train_step.restore(last)
        done = last.step if last else 0
        if self.accelerator.is_main_process:
            self.run.forget_after(done)
        self.accelerator.wait_for_everyone()
        return done

    def _is_due(self, done: int) -> bool:
        return done % self.recipe.checkpoint_every == 0 or done == self.recipe.steps

    def _look(self, done: int) -> None:
        """Validate and generate with the weights that would be exported."""
        writes = self.accelerator.is_main_process
        # Where the base is divided among processes, none can look without the others.
        if writes or self.recipe.shard:
            with self.train_step.average.in_place():
                if self.validator:
                    found = self.validator.look(done)
                    if writes:
                        self.run.log_validation(found)
                        held_out = {"held_out_loss": found.loss.mean, "held_out_change": found.change.mean, "gap": found.gap}
                        self.accelerator.log(held_out, step=done)
                self.previews.generate(done, self.run.previews if writes else None)
        self.accelerator.wait_for_everyone()

    def _save(self, done: int) -> None:
        if self.accelerator.is_main_process:
            folder, best = self.run.checkpoints, selection.lowest(self.run.validations())
            adapter, state = self.train_step.adapter(), self.train_step.state()
            if not all(weight.isfinite().all() for weight in adapter.values()):
                raise not_finite(f"step {done}: a weight of the adapter is not finite")
            try:
                checkpoints.save(folder, done, self.resume_key, adapter, state)
            # torch and safetensors tell of a full disk in exceptions of their own.
            except (OSError, RuntimeError, SafetensorError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
                raise StageFailed(
                    f"{folder}: the checkpoint of step {done} cannot be written ({reason}). Those before it are as they "
                    "were; make room and run the same command again, which goes on from there."
                ) from None
            checkpoints.keep(folder, self.recipe.keep_checkpoints, best.step if best else None)
        self.accelerator.wait_for_everyone()

    def _is_over(self, done: int) -> bool:
        is_over = done == self.recipe.steps or selection.is_over(self.run.validations(), self.recipe.validation)
        return self._together(is_over)

    def _together(self, wish: bool) -> bool:
        """The main process's answer, in every process."""
        if self.accelerator.num_processes == 1:
            return wish
        answers = [wish]
        broadcast_object_list(answers)
        return answers[0]
