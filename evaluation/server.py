"""The server that is asked: one that runs already, or one of our own that ends with the evaluation."""

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

from evaluation.client import Client
from foundation.errors import BadInput, StageFailed
from foundation.hashing import hash_file, hash_files

_READY_WITHIN_S = 600
_LOOK_S = 0.25
_WHEN_THE_PARENT_DIES = 1
_PREFIXES = ("ZTHUMB_", "Z_LORA_")
_ALONE = ("MODEL", "PROMPT_PARSER", "TRAINING_RESOLUTION")


@contextlib.contextmanager
def serving(model: str, in_flight: int) -> Iterator[Client]:
    """A server of ``model`` on a free port of this machine, which is stopped whatever happens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as kept:
        command = [sys.executable, "-m", "zthumb.server.main", "--host", "127.0.0.1", "--port", str(port), "--model", model]
        process = subprocess.Popen(command, env=_environment(kept), stdout=subprocess.DEVNULL, preexec_fn=_ends_with_us)
        try:
            client = Client(f"http://127.0.0.1:{port}", in_flight)
            _wait(client, process)
            yield client
        except BaseException:
            # What it is generating is for nobody, and its folder goes with it.
            process.kill()
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ends_with_us() -> None:
    """On Linux: whatever kills the evaluation, the server does not outlive it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_WHEN_THE_PARENT_DIES, signal.SIGTERM)


def _environment(kept: str) -> dict[str, str]:
    """What the user has set for a server of their own is not for this one."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name not in _ALONE}
    return {**own, "ZTHUMB_DATA_FOLDER": kept}


def _wait(client: Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            # It has told why on standard error.
            raise (
                BadInput("the server could not be started.") if code == 2 else StageFailed(f"the server ended with code {code}.")
            )
        with contextlib.suppress(requests.RequestException):
            answer = client.readiness()
            if answer["ready"]:
                return
            if answer["failed"]:
                raise BadInput(f"the server will never be ready: {answer['reason']}")
        time.sleep(_LOOK_S)
    raise StageFailed(f"the server was not ready within {_READY_WITHIN_S // 60} minutes.")


def identity(path: Path) -> dict[str, str]:
    """What tells that a local model or adapter has changed: the hashes of its files, by name; of what is not there nothing."""
    if path.is_dir():
        return hash_files(path)
    # What an adapter's words are in lies beside it.
    files = (path, path.with_name(f"{path.stem}_emb{path.suffix}"))
    return {each.name: hash_file(each) for each in files if each.is_file()}
