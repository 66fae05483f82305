"""The folder of one training run, held by one process at a time."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from foundation import processes
from foundation.errors import BadInput
from foundation.files import read_json, write_text
from foundation.manifest import NAME as MANIFEST
from training.judging.validation import Validation
from training.recipe import Recipe
from training.steps import checkpoints
from training.steps.checkpoints import Checkpoint

METRICS, VALIDATION, RECIPE, CHOSEN = "metrics.jsonl", "validation.jsonl", "recipe.yaml", "chosen.json"
PREVIEWS = "previews"


class Run:
    """``outputs/lora/<name>``: the resolved recipe, metrics, checkpoints and, at the end, the manifest."""

    def __init__(self, folder: Path, leads: bool = True) -> None:
        self.folder, self._leads = folder, leads
        self.checkpoints = folder / "checkpoints"
        self.previews = folder / PREVIEWS

    @classmethod
    @contextlib.contextmanager
    def hold(cls, folder: Path) -> Iterator["Run"]:
        """The run for the length of the block; ``BadInput`` while another process holds it.

        Of the processes that train one run together, the first holds it for all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not processes.is_first():
            yield cls(folder, leads=False)
            return
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"{folder}: another process is training this run. Wait for it, or choose another --run.") from None
            yield cls(folder)

    def clear(self) -> None:
        """Forget what was done so far."""
        if self._leads:
            for folder in (self.checkpoints, self.previews):
                shutil.rmtree(folder, ignore_errors=True)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe as it was resolved, every default filled in; until the end the run counts as unfinished."""
        if not self._leads:
            return
        (self.folder / MANIFEST).unlink(missing_ok=True)
        values = recipe.model_dump(mode="json")
        write_text(self.folder / RECIPE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def forget_after(self, step: int) -> None:
        """Drop what a killed run logged after its last checkpoint, of ``step``: it will be made again."""
        for name in (METRICS, VALIDATION):
            path = self.folder / name
            if path.exists():
                lines = path.read_text(encoding="utf-8").splitlines()
                write_text(path, "".join(f"{line}\n" for line in lines if step > 0 and _step(line) <= step))
        for folder in self.previews.glob("step-*"):
            if step == 0 or int(folder.name.removeprefix("step-")) > step:
                shutil.rmtree(folder)

    def log(self, values: dict[str, float | int]) -> None:
        """Append a line to ``metrics.jsonl``."""
        self._append(METRICS, json.dumps(values))

    def log_validation(self, found: Validation) -> None:
        """Append a line to ``validation.jsonl``."""
        self._append(VALIDATION, found.model_dump_json())

    def validations(self) -> list[Validation]:
        """Every look at the held-out pictures so far."""
        path = self.folder / VALIDATION
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Validation.model_validate_json(line) for line in lines]

    def chosen(self) -> Checkpoint:
        """The checkpoint that was chosen at the end; ``BadInput`` when it is gone or damaged."""
        step = read_json(self.folder / CHOSEN)["step"]
        for each in checkpoints.found(self.checkpoints):
            if each.step == step and each.is_sound:
                return each
        raise BadInput(f"{self.folder}: the chosen checkpoint, of step {step}, is gone or damaged. Train again with --force.")

    def _append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _step(line: str) -> float:
    # The last line of a killed run may be cut off.
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
