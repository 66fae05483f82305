"""Runs as lists and events show them, and which of them changed since the last look."""

import contextlib
from pathlib import Path

import yaml

from zthumb.server.api.training_schemas import RunEntry
from zthumb.server.reports import Reports
from zthumb.server.runs import course
from zthumb.server.runs.project import Project
from zthumb.server.runs.run_folder import RunFolder
from zthumb.server.runs.runs import WORKING, Runs

_STAGES = ("prepare", "check", "train", "export", "evaluate")


class RunListing:
    """The runs of one server with what came out of them."""

    def __init__(self, runs: Runs, project: Project) -> None:
        self._runs, self._project = runs, project
        self._reports = Reports(project.reports)
        self._seen: dict[str, RunEntry] = {}
        self._steps: dict[tuple[str, int], int] = {}

    def entry(self, run: RunFolder) -> RunEntry:
        """Describe a run."""
        request, state, outputs = run.request(), run.state(), self.outputs(run)
        is_working = state in WORKING
        steps = self._steps_of(outputs) if outputs else None
        speed = course.speed(run.paces(), steps) if steps and is_working else course.Speed(None, None, None)
        report = self._reports.find(run.name) if state == "done" else None
        return RunEntry(
            name=run.name,
            kind=request.kind,
            state=state,
            created=request.created,
            dataset=request.dataset,
            recipe=request.recipe,
            changes=request.changes,
            adapter=request.adapter,
            stage=_stage(run),
            message=_message(run, is_working),
            step=course.last_step(outputs) if outputs else None,
            steps=steps,
            seconds_left=speed.seconds_left,
            seconds_a_step=speed.seconds_a_step,
            is_slow=speed.has_collapsed,
            verdict=report.verdict if report else None,
            sentence=report.verdict.sentence if report and report.verdict else None,
            has_report=report is not None,
        )

    def outputs(self, run: RunFolder) -> Path | None:
        """Return the folder that the run's training writes to; None before it has begun, and of what is no training."""
        request, outputs = run.request(), self._project.outputs(run.name)
        recipe = outputs / "recipe.yaml"
        with contextlib.suppress(OSError):
            # An earlier one is of another run of that name.
            if request.kind == "train" and recipe.stat().st_mtime >= request.created:
                return outputs
        return None

    def changes(self) -> list[RunEntry]:
        """Return the runs that changed since the last call."""
        entries = {run.name: self.entry(run) for run in self._runs.all() if self._may_have_changed(run)}
        changed = [entry for name, entry in entries.items() if self._seen.get(name) != entry]
        self._seen.update(entries)
        return changed

    def _may_have_changed(self, run: RunFolder) -> bool:
        """Whether to look at all of a run: its state changed, or it is at work."""
        seen = self._seen.get(run.name)
        return seen is None or seen.state in WORKING or seen.state != run.state()

    def _steps_of(self, outputs: Path) -> int:
        """Return the steps that a training will make, as its resolved recipe says."""
        recipe = outputs / "recipe.yaml"
        key = (outputs.name, recipe.stat().st_mtime_ns)
        if key not in self._steps:
            self._steps[key] = int(yaml.safe_load(recipe.read_text(encoding="utf-8"))["steps"])
        return self._steps[key]


def _message(run: RunFolder, is_working: bool) -> str:
    """Return the progress bar of a run that is at work, or else the last line that it printed."""
    if is_working and (progress := run.progress()):
        return progress
    lines = run.last_lines(1)
    return lines[0] if lines else ""


def _stage(run: RunFolder) -> str | None:
    """Return the stage that the run is at: each begins what it prints with its name."""
    for line in reversed([*run.last_lines(400), run.progress()]):
        name = line.partition(":")[0]
        if name in _STAGES:
            return name
    return None
