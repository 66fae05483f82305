"""Runs as lists and events show them, and which of them changed since the last look."""

from typing import Any

import yaml

from zthumb.server.api.training_schemas import RunEntry
from zthumb.server.reports import Reports
from zthumb.server.runs import course
from zthumb.server.runs.project import Project
from zthumb.server.runs.run_folder import RunFolder
from zthumb.server.runs.runs import Runs

_STAGES = ("prepare", "check", "train", "export", "evaluate")
_WORKING = ("running", "stopping")


class RunListing:
    """The runs of one server with what came out of them."""

    def __init__(self, runs: Runs, project: Project) -> None:
        self._runs, self._project = runs, project
        self._reports = Reports(project.reports)
        self._seen: dict[str, RunEntry] = {}
        self._steps: dict[str, int] = {}

    def entry(self, run: RunFolder) -> RunEntry:
        """Describe a run."""
        request, state = run.request(), self._runs.state(run)
        outputs = self._project.outputs(run.name)
        is_working = state in _WORKING
        steps = self._steps_of(run) if request.kind == "train" else None
        # Of a run that has not begun, only an earlier one of that name has metrics.
        step = course.last_step(outputs) if request.kind == "train" and run.is_started() else None
        speed = course.speed(run.paces(), steps) if steps and is_working else course.Speed(None, None, None)
        lines = run.last_lines(1)
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
            message=(run.progress() if is_working else "") or (lines[-1] if lines else ""),
            step=step,
            steps=steps,
            seconds_left=speed.seconds_left,
            seconds_a_step=speed.seconds_a_step,
            is_slow=speed.has_collapsed,
            verdict=report.verdict if report else None,
            sentence=report.verdict.sentence if report and report.verdict else None,
            has_report=report is not None,
        )

    def changes(self) -> list[RunEntry]:
        """Return the runs that changed since the last call."""
        entries = {run.name: self.entry(run) for run in self._runs.all() if self._may_have_changed(run)}
        changed = [entry for name, entry in entries.items() if self._seen.get(name) != entry]
        self._seen.update(entries)
        return changed

    def _may_have_changed(self, run: RunFolder) -> bool:
        """Whether to look at all of a run: its state changed, or it is at work."""
        seen = self._seen.get(run.name)
        return seen is None or seen.state in _WORKING or seen.state != self._runs.state(run)

    def _steps_of(self, run: RunFolder) -> int | None:
        """Return the steps that the training will make, as its resolved recipe says, or else what was asked for."""
        path = self._project.outputs(run.name) / "recipe.yaml"
        if path.exists() and run.is_started():
            values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return int(values["steps"])
        return None


def _stage(run: RunFolder) -> str | None:
    """Return the stage that the run is at: each begins what it prints with its name."""
    for line in reversed([*run.last_lines(400), run.progress()]):
        name = line.partition(":")[0]
        if name in _STAGES:
            return name
    return None
