"""Runs are started one at a time, by one server, and at every moment it is known how they are going."""

import threading
import time
from pathlib import Path

import pytest

from zthumb.server.runs.project import Project
from zthumb.server.runs.recipes import Recipes
from zthumb.server.runs.run_folder import RunFolder, RunRequest
from zthumb.server.runs.runs import Runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def _add(folder: Path, name: str, created: float) -> RunFolder:
    run = RunFolder(folder / name)
    run.create(RunRequest(kind="train", dataset="mine", recipe="mini", created=created), "extends: mini\n")
    return run


def _advance_until_done(runs: Runs, run: RunFolder) -> None:
    deadline = time.monotonic() + 240
    while run.state() != "done":
        assert time.monotonic() < deadline, run.state()
        runs.advance(lambda: None)
        time.sleep(0.01)


def test_a_run_is_never_interrupted_that_is_not(project: Project, folder: Path) -> None:
    runs, run, seen = Runs(folder, project, Recipes(project)), _add(folder, "first", 1.0), list[str]()
    has_ended = threading.Event()

    def look() -> None:
        while not has_ended.is_set():
            seen.append(run.state())

    thread = threading.Thread(target=look)
    thread.start()
    # When it is started, ends, and is looked at all the time; and again.
    for _ in range(3):
        _advance_until_done(runs, run)
        run.set_waiting()
    has_ended.set()
    thread.join()
    # Then it was seen at work, and never as what it was not.
    assert "running" in seen
    assert set(seen) <= {"waiting", "running", "done"}


def test_runs_take_turns_in_the_order_in_which_they_were_asked_for(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.2")
    later, earlier = _add(folder, "a", 2.0), _add(folder, "b", 1.0)
    runs = Runs(folder, project, Recipes(project))
    runs.advance(lambda: None)
    runs.advance(lambda: None)
    assert (earlier.state(), later.state()) == ("running", "waiting")
    _advance_until_done(runs, later)
    assert earlier.state() == "done"


def test_two_servers_do_not_start_one_run(project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zthumb.server.runs.lease._LONG_ENOUGH_S", 0.1)
    monkeypatch.setenv("PAUSE", "0.3")
    run, starts = _add(folder, "first", 1.0), list[str]()
    servers = [Runs(folder, project, Recipes(project)) for _ in range(2)]
    threads = [threading.Thread(target=server.advance, args=(lambda: starts.append("asked"),)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _advance_until_done(servers[0], run)
    # Each step is in the log of one process alone.
    assert run.last_lines(20).count("prepare: 3 images") == 1
