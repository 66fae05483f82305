"""A server of its own for a benchmark, on a free port, and what asks it."""

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

    def generate(self, **fields: Any) -> tuple[float, dict[str, float]]:
        """Seconds that the whole request took, and those that the server tells."""
        started = time.perf_counter()
        answer = self.answer(**fields)
        return time.perf_counter() - started, answer["meta"]["timings"]

    def answer(self, **fields: Any) -> dict[str, Any]:
        """What the server answers to a request; ``StageFailed`` where that is an error."""
        answer = self._session.post(f"{self._address}/generate", json={**PROMPT, **fields}, timeout=3600)
        if not answer.ok:
            raise StageFailed(f"{self._address}: {answer.status_code}: {answer.text[:200]}")
        told: dict[str, Any] = answer.json()
        return told

    def another(self) -> "Client":
        """One more of the same server."""
        return Client(self._address)


@dataclass(frozen=True)
class Served:
    """A server that runs: its ``address``, the number of its process, the seconds from its start to its first image."""

    address: str
    process: int
    ready_s: float


@contextmanager
def server(model: Path, models: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Served]:
    """A server of ``model`` on a free port that ends with the block; ``settings`` are variables of its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What the user has set for a server of his own is not for this one.
    others = {name: value for name, value in os.environ.items() if not name.startswith(("ZTHUMB_", "Z_LORA_"))}
    folders = {"ZTHUMB_MODELS_FOLDER": str(models), "ZTHUMB_DATA_FOLDER": str(models.parent / "data")}
    started, address = time.perf_counter(), f"http://127.0.0.1:{port}"
    command_line = [sys.executable, "-m", "zthumb.server.main", "--port", str(port), "--model", str(model)]
    process = subprocess.Popen(command_line, env={**others, **folders, **settings}, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(address):
            if process.poll() is not None:
                raise StageFailed("the server ended before it was ready.")
            time.sleep(0.02)
        yield Served(address, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/health/ready", timeout=5).ok
    except requests.RequestException:
        return False


def write_adapter(model: Path, path: Path, seed: int) -> None:
    """A random adapter of every attention of the base's denoiser."""
    import torch

    from zthumb import families
    from zthumb.adapters import module_shapes
    from zthumb.adapters.adapter import Adapter, Layer
    from zthumb.adapters.layouts import save_kohya
    from zthumb.sources.local import family_of

    family = families.get(family_of(model))
    base = module_shapes.of_folder(model.name, model, family)
    endings = tuple(family.lora_targets(family.denoiser_component)["attention"])
    generator = torch.Generator().manual_seed(seed)
    layers = {
        name: Layer(
            down=0.01 * torch.randn(RANK, shape[1], generator=generator), up=torch.randn(shape[0], RANK, generator=generator)
        )
        for name, shape in base.shapes.items()
        if name.startswith(f"{family.denoiser_component}.") and name.endswith(endings)
    }
    path.parent.mkdir(parents=True)
    save_kohya(Adapter(layers), path, base.layers_per_block, {"ss_v2": "False"})
