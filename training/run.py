"""The folder of one training run, held by one process at a time."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from foundation.errors import BadInput
from foundation.files import write_text
from foundation.manifest import NAME as MANIFEST
from training.recipe import Recipe

METRICS, RECIPE = "metrics.jsonl", "recipe.yaml"


class Run:
    """``outputs/lora/<name>``: the resolved recipe, metrics, checkpoints and, at the end, the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"

    @classmethod
    @contextlib.contextmanager
    def hold(cls, folder: Path) -> Iterator["Run"]:
        """The run for the length of the block; ``BadInput`` while another process holds it."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"{folder}: another process is training this run. Wait for it, or choose another --run.") from None
            yield cls(folder)

    def clear(self) -> None:
        """Forget what was done so far."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe as it was resolved, every default filled in; until the end the run counts as unfinished."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        values = recipe.model_dump(mode="json")
        write_text(self.folder / RECIPE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def keep_metrics_before(self, step: int) -> None:
        """Drop the lines of steps that a killed run logged after its last checkpoint: they will be made again."""
        path = self.folder / METRICS
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step(line) <= step]
            write_text(path, "".join(f"{line}\n" for line in kept))

    def log(self, values: dict[str, float | int]) -> None:
        """Append a line to ``metrics.jsonl``."""
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def _step(line: str) -> float:
    # The last line of a killed run may be cut off.
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
