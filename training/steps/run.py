"""The folder of one training run, held by one process at a time."""

import contextlib
import fcntl
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from foundation import processes
from foundation.errors import BadInput
from foundation.files import read_json, write_text
from foundation.manifest import NAME as MANIFEST
from foundation.manifest import Stage
from training.recipe import Recipe
from training.steps import checkpoints
from training.steps.checkpoints import Checkpoint
from training.validation.validation import Validation

METRICS, VALIDATION, RECIPE, CHOSEN = "metrics.jsonl", "validation.jsonl", "recipe.yaml", "chosen.json"
PREVIEWS = "previews"
_LONGEST_TOLD = 40


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
        # Beside the folder, which may be renamed while it is held.
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"{folder}: another process is training this run. Wait for it, or choose another --run.") from None
            yield cls(folder)

    def archive(self, resume_key: Stage, steps: int) -> str | None:
        """Rename this run if its checkpoints do not match ``resume_key`` or go beyond ``steps``; return a sentence that says so.

        What was learned before is a run like any other then, and nothing of it is lost.
        """
        there = checkpoints.found(self.checkpoints)
        others = [each for each in there if each.fingerprint != resume_key.fingerprint or each.step > steps]
        if not self._leads or not others:
            return None
        numbers = itertools.count(1)
        aside = next(path for number in numbers if not (path := self._earlier(number)).exists())
        self.folder.rename(aside)
        self.folder.mkdir()
        last = others[-1]
        changed = _changes(last.inputs, resume_key.inputs) + _changes(last.settings, resume_key.settings)
        if not changed:
            changed = [f"only {steps} steps are asked for"]
        return f"{self.folder}: {', '.join(changed)}, so it starts over; what it held, {last.step} steps, is now {aside}"

    def _earlier(self, number: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}-earlier-{number}")

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
        values = recipe.model_dump(mode="json", by_alias=True)
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
        """Every look at the held-out images so far."""
        path = self.folder / VALIDATION
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Validation.model_validate_json(line) for line in lines]

    def chosen(self) -> Checkpoint:
        """The checkpoint that was chosen at the end; ``BadInput`` when it is gone or damaged."""
        step = read_json(self.folder / CHOSEN)["step"]
        for each in self.sound():
            if each.step == step:
                return each
        raise BadInput(f"{self.folder}: the chosen checkpoint, of step {step}, is gone or damaged. Train again with --force.")

    def last(self) -> int:
        """The step that a finished run ended with."""
        return int(read_json(self.folder / CHOSEN)["of"])

    def sound(self) -> list[Checkpoint]:
        """The checkpoints that are there and whole, the latest last."""
        return [each for each in checkpoints.found(self.checkpoints) if each.is_sound]

    def _append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """Which values differ, each as ``key: before → now``; of hashes only that they do."""
    told = []
    for key in sorted(before.keys() | now.keys()):
        old, new, name = before.get(key), now.get(key), f"{above}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told += _changes(old, new, f"{name}.")
        elif old != new:
            is_long = max(len(str(old)), len(str(new))) > _LONGEST_TOLD
            told.append(f"{name} has changed" if is_long else f"{name}: {old} → {new}")
    return told


def _step(line: str) -> float:
    # The last line of a killed run may be cut off.
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
