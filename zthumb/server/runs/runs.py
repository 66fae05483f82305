"""The runs of this server: trainings with their evaluation, and evaluations, one at a time, in processes of their own."""

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foundation.errors import BadInput
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.runs import lease
from zthumb.server.runs.project import Project
from zthumb.server.runs.recipes import Recipes
from zthumb.server.runs.run_folder import RunFolder, RunRequest, State

WORKING: tuple[State, ...] = ("running", "stopping")
_RESUMABLE: tuple[State, ...] = ("stopped", "failed", "interrupted")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOG = logging.getLogger("zthumb")


class Conflict(Exception):
    """What is asked of a run cannot be done in the state it is in; the message says what can."""


class Runs:
    """The runs in ``folder``. Those that wait are started by ``advance``, in the order in which they were asked for."""

    def __init__(self, folder: Path, project: Project, recipes: Recipes) -> None:
        self._folder, self._project, self._recipes = folder, project, recipes
        # Of all that changes a run: one that is taken off the list must not be started meanwhile.
        self._lock = threading.RLock()
        self._driver: subprocess.Popen[bytes] | None = None
        self._created: dict[str, float | None] = {}

    def all(self) -> list[RunFolder]:
        """Return every run, the newest first; one whose request cannot be read is left out and logged."""
        found = [RunFolder(path) for path in self._folder.glob("*") if path.is_dir()] if self._folder.is_dir() else []
        dated = [(created, run) for run in found if run.exists() and (created := self._created_at(run)) is not None]
        return [run for _, run in sorted(dated, key=lambda pair: -pair[0])]

    def get(self, name: str) -> RunFolder:
        """Return the run called ``name``; raises ``NotFound``."""
        run = RunFolder(self._folder / name)
        if not _NAME.fullmatch(name) or not run.exists():
            raise NotFound(f"there is no run {name!r}.")
        return run

    def at_work(self) -> RunFolder | None:
        """Return the run that a process works on."""
        return next((run for run in self.all() if run.state() in WORKING), None)

    def train(self, name: str, dataset: str, recipe: str, changes: Mapping[str, Any], prompts: str | None) -> RunFolder:
        """Add a training of ``dataset`` by a recipe with ``changes``; raises ``BadInput`` if the recipe does not take them."""
        self._check_prompts(prompts)
        text = self._recipes.changed(recipe, changes)
        self._recipes.check(text)
        request = RunRequest(
            kind="train", dataset=dataset, recipe=recipe, changes=dict(changes), prompts=prompts, created=time.time()
        )
        return self._add(name, request, text)

    def evaluate(self, name: str, dataset: str, adapter: Path, model: str, prompts: str | None) -> RunFolder:
        """Add an evaluation of ``adapter`` on ``model`` with the held-out images of ``dataset``."""
        self._check_prompts(prompts)
        if not adapter.resolve().is_relative_to(self._project.root):
            raise BadInput(f"adapter: {adapter.name} is not in the project that the evaluation runs in.")
        path = adapter.resolve().relative_to(self._project.root).as_posix()
        if not (self._project.datasets / dataset / "dataset.json").exists():
            raise BadInput(f"dataset: {dataset} was not prepared yet: check it on the page Train first.")
        request = RunRequest(kind="evaluate", dataset=dataset, adapter=path, model=model, prompts=prompts, created=time.time())
        return self._add(name, request, None)

    def stop(self, run: RunFolder) -> None:
        """Ask a run to stop: after the step it makes, with a checkpoint. One that waits will not start."""
        with self._lock:
            state = run.state()
            if state not in (*WORKING, "waiting"):
                raise Conflict(f"{run.name} is {state}: there is nothing to stop.")
            run.ask_to_stop()

    def resume(self, run: RunFolder) -> None:
        """Let a run go on where it was."""
        with self._lock:
            state = run.state()
            if state not in _RESUMABLE:
                raise Conflict(f"{run.name} is {state}: only what was stopped, interrupted or failed is resumed.")
            run.set_waiting()

    def remove(self, run: RunFolder) -> None:
        """Take a run off the list; what it has trained and its report stay where they are."""
        with self._lock:
            state = run.state()
            if state in WORKING:
                raise Conflict(f"{run.name} is {state}: stop it first.")
            run.remove()
            self._created.pop(run.name, None)

    def check_is_free(self, dataset: str) -> None:
        """Raise ``Conflict`` while a run reads ``dataset``, which must not become another one under it."""
        run = self.at_work()
        if run is not None and run.request().dataset == dataset:
            raise Conflict(f"{dataset}: the run {run.name} reads this data set. Prepare it when that has ended.")

    def advance(self, before_start: Callable[[], None]) -> None:
        """Start the run that has waited longest if none is at work; ``before_start`` is called just before."""
        with self._lock:
            runs = self.all()
            if self._driver is not None:
                self._driver.poll()  # What has ended is taken off the system's list of processes.
            if any(lease.is_held(run.lease) for run in runs):
                return
            waiting = [run for run in reversed(runs) if run.state() == "waiting"]
            if waiting:
                before_start()
                self._start(waiting[0])

    def _start(self, run: RunFolder) -> None:
        with lease.hold(run.lease) as held:
            if held is None or run.is_started():
                return  # Another server was first.
            run.note_start()
            arguments = [str(run.path.resolve()), str(self._project.root), str(held)]
            with run.errors.open("wb") as errors:
                self._driver = subprocess.Popen(
                    [sys.executable, "-m", "zthumb.server.runs.driver", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=(held,),
                    start_new_session=True,  # It goes on when this server ends.
                )

    def _add(self, name: str, request: RunRequest, recipe: str | None) -> RunFolder:
        if not _NAME.fullmatch(name):
            raise BadInput(f"name: {name!r}: use letters, digits, '.', '-' and '_', and begin with a letter or digit.")
        if request.dataset not in {path.name for path in self._project.datasets.iterdir() if path.is_dir()}:
            raise BadInput(f"dataset: there is no data set {request.dataset!r}.")
        run = RunFolder(self._folder / name)
        with self._lock:
            if run.exists():
                raise BadInput(f"name: there is a run {name!r} already.")
            if made := self._project.made_by(name):
                # It would be replaced, or taken for this run's.
                raise BadInput(f"name: there is {made} of that name already. Choose another one.")
            run.create(request, recipe)
        return run

    def _created_at(self, run: RunFolder) -> float | None:
        """Return when a run was asked for, which never changes; None if its request cannot be read."""
        if run.name not in self._created:
            try:
                self._created[run.name] = run.request().created
            except (BadInput, OSError) as error:
                _LOG.warning("the run %s is left out: %s", run.name, error)
                self._created[run.name] = None
        return self._created[run.name]

    def _check_prompts(self, prompts: str | None) -> None:
        known = self._project.sets_of_prompts()
        if prompts is not None and prompts not in known:
            raise BadInput(f"prompts: there are no prompts called {prompts!r}, only {', '.join(known)}.")
