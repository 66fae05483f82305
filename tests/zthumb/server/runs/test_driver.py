"""A run has a process of its own: what it prints is kept, it stops when it is asked to, and its end is noted."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zthumb.server.runs import driver, lease
from zthumb.server.runs.project import Project
from zthumb.server.runs.run_folder import RunFolder, RunRequest


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "first")
    run.create(RunRequest(kind="train", dataset="mine", recipe="mini", created=1.0), "extends: mini\n")
    return run


def _drive(run: RunFolder, project: Project) -> int:
    with lease.hold(run.lease) as held:
        assert held is not None
        return driver.main(run.path, project.root, held)


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_run_prints_is_kept_without_the_states_of_its_progress_bar(project: Project, run: RunFolder) -> None:
    assert _drive(run, project) == 0
    assert run.state() == "done"
    assert run.last_lines(10) == ["prepare: 3 images", "train: 3/3", "evaluate: recommended"]
    assert run.progress() == ""
    assert [pace.step for pace in run.paces()][-1] == 3


def test_a_run_that_fails_says_so(project: Project, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "2")
    assert _drive(run, project) == 2
    assert run.state() == "failed"


def test_a_run_stops_when_it_is_asked_to_and_goes_on_afterwards(
    project: Project, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "60")
    thread = threading.Thread(target=_drive, args=(run, project))
    thread.start()
    _until(lambda: run.state() == "running" and run.paces())
    run.ask_to_stop()
    assert run.state() in ("stopping", "stopped")
    thread.join(240)
    assert run.state() == "stopped"
    # When it is resumed
    monkeypatch.setenv("PAUSE", "0")
    run.set_waiting()
    assert run.state() == "waiting"
    _drive(run, project)
    assert run.state() == "done"


def test_a_run_whose_process_is_killed_is_over_when_what_it_started_is_and_then_interrupted(
    project: Project, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "1")
    with lease.hold(run.lease) as held:
        assert held is not None
        run.note_start()
        command = [sys.executable, "-m", "zthumb.server.runs.driver", str(run.path), str(project.root), str(held)]
        process = subprocess.Popen(command, pass_fds=(held,))
    _until(lambda: run.state() == "running" and run.paces())
    process.kill()
    process.wait()
    assert run.state() == "running"
    _until(lambda: run.state() == "interrupted")


def test_a_run_is_not_given_the_settings_of_the_server(project: Project, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZTHUMB_API_KEYS", "secret")
    monkeypatch.setenv("FORCE", "1")
    monkeypatch.setenv("HF_TOKEN", "hub")
    (project.root / "scripts" / "finetune_z.sh").write_text("env > environment.txt\n")
    _drive(run, project)
    values = dict(line.split("=", 1) for line in (project.root / "environment.txt").read_text().splitlines() if "=" in line)
    assert not {"ZTHUMB_API_KEYS", "FORCE"} & values.keys()
    assert (values["RUN"], values["DATASET"], values["HF_TOKEN"]) == ("first", "datasets/mine", "hub")
    assert json.loads((run.path / "request.json").read_text())["recipe"] == "mini"


def test_a_disk_on_which_nothing_can_be_written_does_not_end_a_training(
    project: Project, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for method in ("note_pace", "append_to_log", "show_progress"):
        monkeypatch.setattr(RunFolder, method, refuse)
    assert _drive(run, project) == 0
    assert run.state() == "done"
