"""The folder of one run that the server started: what was asked for, what it printed, and how it ended."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from foundation.config import Strict, read_model
from foundation.files import write_json, write_text
from zthumb.server.runs import lease

State = Literal["waiting", "running", "stopping", "done", "stopped", "failed", "interrupted"]
"""``interrupted``: its process is gone without a word, as after a power cut. It can be resumed, as one that was stopped."""

_LAST_BYTES, _PACE_BYTES = 64 * 1024, 4096


class RunRequest(Strict):
    """What a run does: ``train`` makes an adapter of a data set and judges it, ``evaluate`` judges an adapter that is there.

    ``changes`` are values that replace the recipe's. ``prompts`` is the name of a file in evaluation/prompts; by default the one
    for the base. ``adapter`` is the path of an adapter, for an evaluation alone.
    """

    kind: Literal["train", "evaluate"]
    dataset: str
    recipe: str | None = None
    changes: Mapping[str, Any] = {}
    prompts: str | None = None
    adapter: str | None = None
    model: str | None = None
    created: float = Field(description="seconds since 1970")


class Ending(Strict):
    """How a run ended: the exit code of its command, and whether it was asked to stop."""

    code: int
    is_stopped: bool
    at: float


class Pace(Strict):
    """The step that a training had reached at a time, in seconds since 1970."""

    at: float
    step: int


@dataclass(frozen=True)
class RunFolder:
    """A folder below the server's data folder; its name is the run's."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def lease(self) -> Path:
        """Held while a process works on the run."""
        return self.path / "lease"

    @property
    def errors(self) -> Path:
        """What the process around its command says itself, if it fails."""
        return self.path / "driver.txt"

    @property
    def recipe(self) -> Path:
        """The recipe with the changes that were asked for."""
        return self.path / "recipe.yaml"

    def create(self, request: RunRequest, recipe: str | None) -> None:
        """Write the request, which comes last: a folder without one is none of a run, but what is left of one."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        if recipe is not None:
            write_text(self.recipe, recipe)
        write_json(self.path / "request.json", request.model_dump(mode="json"))

    def remove(self) -> None:
        """Delete the folder; from the first step on it is none of a run."""
        (self.path / "request.json").unlink()
        shutil.rmtree(self.path, ignore_errors=True)

    def exists(self) -> bool:
        """Whether there is such a run."""
        return (self.path / "request.json").is_file()

    def request(self) -> RunRequest:
        """Return what was asked for."""
        return read_model(RunRequest, self.path / "request.json")

    def state(self) -> State:
        """Return how it is going, as its files and its lease say, whatever is done with it meanwhile."""
        # Under its lease a start is noted first and an ending last: what is read in this order is of one moment.
        ending, is_started, is_held = self.ending(), self.is_started(), lease.is_held(self.lease)
        if ending := ending or self.ending():
            return "stopped" if ending.is_stopped else "done" if ending.code == 0 else "failed"
        if is_held:
            return "stopping" if self.is_asked_to_stop() else "running"
        if self.is_asked_to_stop():
            return "stopped"
        return "interrupted" if is_started else "waiting"

    # The start and the end

    def is_started(self) -> bool:
        """Whether a process was started for it since it was last set to waiting."""
        return (self.path / "started").exists()

    def note_start(self) -> None:
        """Note that a process is started."""
        write_text(self.path / "started", "")

    def ending(self) -> Ending | None:
        """Return how its process ended; None if it has not."""
        path = self.path / "ended.json"
        return read_model(Ending, path) if path.exists() else None

    def note_end(self, ending: Ending) -> None:
        """Note how its process ended."""
        write_json(self.path / "ended.json", ending.model_dump(mode="json"))

    def ask_to_stop(self) -> None:
        """Ask its process to stop; one that waits does not start."""
        write_text(self.path / "stop", "")

    def is_asked_to_stop(self) -> bool:
        """Whether it is to stop."""
        return (self.path / "stop").exists()

    def set_waiting(self) -> None:
        """Let it wait for its turn again; it goes on where it was."""
        # The ending goes last: without it, it would have been interrupted.
        for name in ("started", "stop", "ended.json"):
            (self.path / name).unlink(missing_ok=True)

    # What it prints

    @property
    def log(self) -> Path:
        """All complete lines that its command printed."""
        return self.path / "log.txt"

    def append_to_log(self, lines: bytes) -> None:
        """Append complete lines to the log."""
        if lines:
            with self.log.open("ab") as log:
                log.write(lines)

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines of the log."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LAST_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]

    def progress(self) -> str:
        """Return the last state of a progress bar; empty if there is none."""
        path = self.path / "progress.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def show_progress(self, text: str) -> None:
        """Replace the state of the progress bar."""
        write_text(self.path / "progress.txt", text)

    # How fast it is

    def note_pace(self, step: int) -> None:
        """Note the step that the training has reached now."""
        with (self.path / "pace.jsonl").open("a", encoding="utf-8") as file:
            file.write(Pace(at=time.time(), step=step).model_dump_json() + "\n")

    def paces(self) -> list[Pace]:
        """Return the last steps and times that were noted, the first one first."""
        path = self.path / "pace.jsonl"
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _PACE_BYTES))
            lines = file.read().splitlines()
        # The first line may be cut off, and so may be the last one of a killed process.
        return [Pace(**json.loads(line)) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
