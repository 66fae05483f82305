"""A server process started for a benchmark on a free port, and a client for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests

from foundation.errors import StageFailed

PROMPT = {"prompt": "a photo of a red star on a blue background", "steps": 15}
RANK = 16


class Client:
    """One client of the server."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session = requests.Session()
        self._session.trust_env = False

    def time_request(self, **fields: Any) -> tuple[float, dict[str, float]]:
        """Generate, and return the seconds that the whole request took and the timings reported by the server."""
        started = time.perf_counter()
        response = self.generate(**fields)
        return time.perf_counter() - started, response["meta"]["timings"]

    def generate(self, **fields: Any) -> dict[str, Any]:
        """Return the server's response to a request; raise ``StageFailed`` if it is an error."""
        response = self._session.post(f"{self._address}/generate", json={**PROMPT, **fields}, timeout=3600)
        if not response.ok:
            raise StageFailed(f"{self._address}: {response.status_code}: {response.text[:200]}")
        body: dict[str, Any] = response.json()
        return body

    def new_client(self) -> "Client":
        """Return another client of the same server."""
        return Client(self._address)


@dataclass(frozen=True)
class RunningServer:
    """A running server: its ``address``, its process id, the seconds from its start to its first image."""

    address: str
    pid: int
    ready_s: float


@contextmanager
def run_server(model: Path, models: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[RunningServer]:
    """Run a server of ``model`` on a free port until the block ends; ``settings`` are environment variables for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Settings in the user's environment are meant for the user's own server, not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ZTHUMB_", "Z_LORA_"))}
    folders = {"ZTHUMB_MODELS_FOLDER": str(models), "ZTHUMB_DATA_FOLDER": str(models.parent / "data")}
    started, address = time.perf_counter(), f"http://127.0.0.1:{port}"
    command_line = [sys.executable, "-m", "zthumb.server.main", "--port", str(port), "--model", str(model)]
    process = subprocess.Popen(command_line, env={**environment, **folders, **settings}, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(address):
            if process.poll() is not None:
                raise StageFailed("the server exited before it was ready. Its own message is above.")
            time.sleep(0.02)
        yield RunningServer(address, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/health/ready", timeout=5).ok
    except requests.RequestException:
        return False


def write_adapter(model: Path, path: Path, seed: int) -> None:
    """Write an adapter with random weights for every attention layer of the base's denoiser."""
    import torch

    from zthumb import families
    from zthumb.adapters import module_shapes
    from zthumb.adapters.adapter import Adapter, Layer
    from zthumb.adapters.layouts import save_kohya
    from zthumb.sources.local import family_of

    family = families.get(family_of(model))
    base = module_shapes.of_folder(model.name, model, family)
    suffixes = tuple(family.lora_targets(family.denoiser_component)["attention"])
    generator = torch.Generator().manual_seed(seed)
    layers = {
        name: Layer(
            down=0.01 * torch.randn(RANK, shape[1], generator=generator), up=torch.randn(shape[0], RANK, generator=generator)
        )
        for name, shape in base.shapes.items()
        if name.startswith(f"{family.denoiser_component}.") and name.endswith(suffixes)
    }
    path.parent.mkdir(parents=True)
    save_kohya(Adapter(layers), path, family, base.denoiser_config, {"ss_v2": "False"})
