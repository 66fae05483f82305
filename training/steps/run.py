"""The folder of one training run, locked by one process at a time."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from foundation import processes
from foundation.errors import BadInput
from foundation.files import read_json, write_text
from foundation.manifest import NAME as MANIFEST
from foundation.manifest import Stage
from training.recipe import Recipe
from training.steps import checkpoints
from training.steps.checkpoints import Checkpoint
from training.validation.records import Validation

METRICS, VALIDATION, RECIPE, CHOSEN = "metrics.jsonl", "validation.jsonl", "recipe.yaml", "chosen.json"
PREVIEWS = "previews"
_MAX_VALUE_LENGTH = 40


class Run:
    """``outputs/lora/<name>``: the resolved recipe, metrics, checkpoints and, at the end, the manifest."""

    def __init__(self, folder: Path, is_main: bool = True) -> None:
        self.folder, self._is_main = folder, is_main
        self.checkpoints = folder / "checkpoints"
        self.previews = folder / PREVIEWS

    @classmethod
    @contextlib.contextmanager
    def lock(cls, folder: Path) -> Iterator["Run"]:
        """Lock the run inside the block; raise ``BadInput`` while another process has locked it.

        Of the processes that train one run together, the first locks it for all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not processes.is_first():
            yield cls(folder, is_main=False)
            return
        # Next to the folder, which may be renamed while it is locked.
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise BadInput(f"{folder}: another process is training this run. Wait for it, or choose another --run.") from None
        try:
            yield cls(folder)
        finally:
            lock.release()

    def archive(self, resume_key: Stage, steps: int) -> str | None:
        """Rename this run if its checkpoints do not match ``resume_key`` or go beyond ``steps``; return a sentence that says so.

        The renamed run is a run like any other, and nothing of it is lost.
        """
        others = [
            checkpoint
            for checkpoint in checkpoints.read_checkpoints(self.checkpoints)
            if checkpoint.fingerprint != resume_key.fingerprint or checkpoint.step > steps
        ]
        if not self._is_main or not others:
            return None
        numbers = itertools.count(1)
        renamed = next(path for number in numbers if not (path := self._earlier(number)).exists())
        self.folder.rename(renamed)
        self.folder.mkdir()
        last = others[-1]
        changed = _changes(last.inputs, resume_key.inputs) + _changes(last.settings, resume_key.settings)
        if not changed:
            changed = [f"only {steps} steps are asked for"]
        return f"{self.folder}: {', '.join(changed)}, so it starts over; what it held, {last.step} steps, is now {renamed}"

    def _earlier(self, number: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}-earlier-{number}")

    def clear(self) -> None:
        """Delete the checkpoints and previews made so far."""
        if self._is_main:
            for folder in (self.checkpoints, self.previews):
                shutil.rmtree(folder, ignore_errors=True)

    def begin(self, recipe: Recipe) -> None:
        """Write the resolved recipe, every default filled in; until the end the run has no manifest and is unfinished."""
        if not self._is_main:
            return
        (self.folder / MANIFEST).unlink(missing_ok=True)
        values = recipe.model_dump(mode="json", by_alias=True)
        write_text(self.folder / RECIPE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def discard_after(self, step: int) -> None:
        """Delete what a killed run logged after its last checkpoint, of ``step``: those steps are made again."""
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

    def log_validation(self, validation: Validation) -> None:
        """Append a line to ``validation.jsonl``."""
        self._append(VALIDATION, validation.model_dump_json())

    def validations(self) -> list[Validation]:
        """Return every validation so far."""
        path = self.folder / VALIDATION
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Validation.model_validate_json(line) for line in lines]

    def chosen(self) -> Checkpoint:
        """Return the checkpoint that was chosen at the end; raise ``BadInput`` if it is missing or damaged."""
        step = read_json(self.folder / CHOSEN)["step"]
        for checkpoint in self.valid_checkpoints():
            if checkpoint.step == step:
                return checkpoint
        raise BadInput(f"{self.folder}: the chosen checkpoint, of step {step}, is gone or damaged. Train again with --force.")

    def last(self) -> int:
        """Return the last step of a finished run."""
        return int(read_json(self.folder / CHOSEN)["of"])

    def valid_checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that are complete and undamaged, the latest last."""
        return [checkpoint for checkpoint in checkpoints.read_checkpoints(self.checkpoints) if checkpoint.is_valid]

    def _append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The values that differ, each as ``key: before → now``; of long ones, as hashes, only that they do."""
    changes = []
    for key in sorted(before.keys() | now.keys()):
        old, new, name = before.get(key), now.get(key), f"{prefix}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += _changes(old, new, f"{name}.")
        elif old != new:
            is_long = max(len(str(old)), len(str(new))) > _MAX_VALUE_LENGTH
            changes.append(f"{name} has changed" if is_long else f"{name}: {old} → {new}")
    return changes


def _step(line: str) -> float:
    # The last line of a killed run may be incomplete.
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
