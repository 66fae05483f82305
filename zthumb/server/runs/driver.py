"""The process around one run: keeps what it prints, stops it when asked, and notes how it ended.

It outlives the server that started it. Run as ``python -m zthumb.server.runs.driver FOLDER PROJECT LEASE``, where LEASE is the
number of the open file by which the run's lease is held; whoever starts it holds the lease already, so that it is never free
between the start and the end.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from zthumb.server.runs.course import last_step
from zthumb.server.runs.project import Project
from zthumb.server.runs.run_folder import Ending, RunFolder, RunRequest

_LOOK_S = 0.3
_SHOW_S = 0.5
_PATIENCE_S = 1800.0
"""For a stage that was asked to stop: a step of a large base, perhaps a validation with previews, and the checkpoint."""


def main(folder: Path, root: Path, held: int) -> int:
    """Run the command of the run in ``folder``, whose lease is ``held`` by an open file, and return its exit code."""
    run, project = RunFolder(folder), Project(root)
    with _start(project, run, held) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=_keep, args=(process.stdout, run), daemon=True)
        reader.start()
        is_asked = _watch(process, reader, project, run)
    # One that was done before it heard of it is done.
    is_stopped = is_asked and process.returncode != 0
    run.note_end(Ending(code=process.returncode, is_stopped=is_stopped, at=time.time()))
    return process.returncode


def _start(project: Project, run: RunFolder, held: int) -> "subprocess.Popen[bytes]":
    request = run.request()
    return subprocess.Popen(
        _command(project, run, request),
        cwd=project.root,
        env=_environment(project, run, request),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A group of its own, so that whatever it starts is stopped with it.
        start_new_session=True,
        # If this process is killed, the run is not over before those are that it started.
        pass_fds=(held,),
    )


def _command(project: Project, run: RunFolder, request: RunRequest) -> list[str]:
    if request.kind == "train":
        return project.training()
    assert request.adapter is not None
    assert request.model is not None
    command = project.module("evaluation", "--run", run.name, "--adapter", request.adapter, "--model", request.model)
    command += ["--dataset", f"datasets/{request.dataset}"]
    return command + (["--prompts", f"evaluation/prompts/{request.prompts}.yaml"] if request.prompts else [])


def _environment(project: Project, run: RunFolder, request: RunRequest) -> dict[str, str]:
    values = {"DATASET": f"datasets/{request.dataset}", "RUN": run.name, "RECIPE": str(run.recipe), "PYTHONUNBUFFERED": "1"}
    values["PROMPTS"] = f"evaluation/prompts/{request.prompts}.yaml" if request.prompts else ""
    return project.environment(**values)


def _watch(process: "subprocess.Popen[bytes]", reader: threading.Thread, project: Project, run: RunFolder) -> bool:
    """Wait until all that was started has ended; return whether it was asked to stop."""
    asked_at: float | None = None
    step = None
    while reader.is_alive():
        reader.join(_LOOK_S)
        # What is only looked at must not end what it looks at: a full disk, files that are just moved away.
        with contextlib.suppress(OSError, ValueError, KeyError):
            if (reached := last_step(project.outputs(run.name))) is not None and reached != step:
                step = reached
                run.note_pace(reached)
        if asked_at is None and run.is_asked_to_stop():
            asked_at = time.monotonic()
            _signal(process, signal.SIGTERM)
        elif asked_at is not None and time.monotonic() - asked_at > _PATIENCE_S:
            _signal(process, signal.SIGKILL)
    return asked_at is not None


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _keep(stream: IO[bytes], run: RunFolder) -> None:
    """Append complete lines to the log; what a carriage return replaces is a progress bar's, of which the last is shown.

    The stream ends when every process that writes to it has. It is read to its end even if nothing can be written any more.
    """
    rest, shown_at = b"", 0.0
    while chunk := os.read(stream.fileno(), 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        with contextlib.suppress(OSError):
            run.append_to_log(b"".join(line.rpartition(b"\r")[2] + b"\n" for line in lines))
            if rest.strip() and time.monotonic() - shown_at > _SHOW_S:
                run.show_progress(_last_bar(rest))
                shown_at = time.monotonic()
        # Of a bar that goes on for hours only its last state is kept.
        rest = rest[max(0, rest.rfind(b"\r")) :]
    with contextlib.suppress(OSError):
        run.append_to_log(rest.rpartition(b"\r")[2] + b"\n" if rest.strip() else b"")
        run.show_progress("")


def _last_bar(text: bytes) -> str:
    return [part for part in text.split(b"\r") if part.strip()][-1].decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
