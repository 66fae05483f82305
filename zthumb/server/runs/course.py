"""The course of a training, read from the files that it writes: losses by step, validations, previews, time left."""

import json
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from zthumb.server.runs.run_folder import Pace

_METRICS, _VALIDATIONS, _PREVIEWS = "metrics.jsonl", "validation.jsonl", "previews"
_TAIL_BYTES = 4096
_SLOWER, _RECENT, _EARLIER = 2.5, 5, 12
"""A training whose last steps take so many times as long as those before has met something: a full card, another program."""

_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Speed:
    """Seconds a step, lately and before that, and how long the rest takes; None where too few steps were made to say."""

    seconds_a_step: float | None
    seconds_a_step_before: float | None
    seconds_left: float | None

    @property
    def has_collapsed(self) -> bool:
        """Whether steps take much longer than they did."""
        now, before = self.seconds_a_step, self.seconds_a_step_before
        return now is not None and before is not None and now > _SLOWER * before


def last_step(outputs: Path) -> int | None:
    """Return the last step in the metrics of a training; None before the first."""
    try:
        with (outputs / _METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            complete = file.read().rpartition(b"\n")[0].splitlines()
    except FileNotFoundError:
        return None
    return int(json.loads(complete[-1])["step"]) if complete else None


def metrics(outputs: Path, after: int) -> list[dict[str, Any]]:
    """Return the metrics of the steps after ``after``."""
    return [values for values in _lines(outputs / _METRICS) if values["step"] > after]


def validations(outputs: Path) -> list[dict[str, Any]]:
    """Return every validation: the loss on held-out images, with intervals, by stratum of time."""
    return _lines(outputs / _VALIDATIONS)


def previews(outputs: Path) -> list[tuple[int, list[Path]]]:
    """Return the previews by step: their image files."""
    folders = (outputs / _PREVIEWS).glob("step-*")
    found = [(_step_of(folder), sorted(folder.glob("*.png"))) for folder in folders]
    return sorted((step, paths) for step, paths in found if step is not None)


def preview(outputs: Path, step: int, name: str) -> Path | None:
    """Return the file of a preview; None if there is none."""
    known = [path for folder in (outputs / _PREVIEWS).glob("step-*") for path in folder.glob("*.png")]
    return next((path for path in known if path.name == name and _step_of(path.parent) == step), None)


def speed(paces: Sequence[Pace], steps: int) -> Speed:
    """Return how fast a training of ``steps`` steps is; a pause between two runs of its process is none of its pace."""
    times = [
        (later.at - earlier.at) / (later.step - earlier.step) for earlier, later in pairwise(paces) if later.step > earlier.step
    ]
    if not times:
        return Speed(None, None, None)
    recent, earlier_times = times[-_RECENT:], times[:-_RECENT][-_EARLIER:]
    now = statistics.median(recent)
    before = statistics.median(earlier_times) if len(earlier_times) >= _RECENT else None
    return Speed(now, before, now * max(0, steps - paces[-1].step))


def _step_of(folder: Path) -> int | None:
    match = _STEP.fullmatch(folder.name)
    return int(match[1]) if match else None


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file that is being written."""
    if not path.exists():
        return []
    complete = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]
