"""Start a server for an evaluation, which is stopped when the evaluation ends."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from evaluation.collection.client import Client
from foundation.errors import BadInput, StageFailed
from foundation.hashing import hash_file, hash_files

_READY_TIMEOUT_S = 600
_POLL_INTERVAL_S = 0.25
_PR_SET_PDEATHSIG = 1
_PREFIXES = ("ZTHUMB_", "Z_LORA_")
_UNPREFIXED = ("MODEL", "PROMPT_PARSER", "TRAINING_RESOLUTION")


@contextlib.contextmanager
def serve(model: str, in_flight: int) -> Iterator[Client]:
    """Start a server of ``model`` on a free local port and yield a client of it; the server is stopped on every exit."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data_folder:
        command = [sys.executable, "-m", "zthumb.server.main", "--host", "127.0.0.1", "--port", str(port), "--model", model]
        # Windows has no code to run between fork and exec, and refuses any.
        before_exec = _end_with_parent if sys.platform == "linux" else None
        process = subprocess.Popen(command, env=_environment(data_folder), stdout=subprocess.DEVNULL, preexec_fn=before_exec)
        try:
            client = Client(f"http://127.0.0.1:{port}", in_flight)
            _wait_until_ready(client, process)
            yield client
        except BaseException:
            # Nobody waits for what it is generating, and its data folder is deleted anyway.
            process.kill()
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_with_parent() -> None:
    """Make sure that the server does not outlive the evaluation, whatever kills that. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment(data_folder: str) -> dict[str, str]:
    """Return the environment without the settings that the user has made for their own server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name not in _UNPREFIXED}
    return {**inherited, "ZTHUMB_DATA_FOLDER": data_folder}


def _wait_until_ready(client: Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            # The server has printed the reason to standard error.
            raise (
                BadInput("the server could not be started.") if code == 2 else StageFailed(f"the server ended with code {code}.")
            )
        with contextlib.suppress(requests.RequestException):
            status = client.readiness()
            if status["ready"]:
                return
            if status["failed"]:
                raise BadInput(f"the server failed to start: {status['reason']}")
        time.sleep(_POLL_INTERVAL_S)
    raise StageFailed(f"the server was not ready within {_READY_TIMEOUT_S // 60} minutes.")


def hash_model(path: Path) -> dict[str, str]:
    """Return file name → hash of the files of a local model or adapter, which tell that it has changed.

    Files that do not exist are left out.
    """
    if path.is_dir():
        return hash_files(path)
    # The learned tokens of an adapter are in a file next to it.
    files = (path, path.with_name(f"{path.stem}_emb{path.suffix}"))
    return {file.name: hash_file(file) for file in files if file.is_file()}
