"""``make bench_serve``: what the server adds to a picture, how fast adapters change, what painting together gains."""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from foundation.errors import DONE, StageFailed, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts

OUT = Path("outputs/bench/serve.json")
PROMPT = {"prompt": "a photo of a red star on a blue background", "steps": 15}
CLIENTS, RANK = 8, 16


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/serve.json``; exit code 0 done, 1 the server does not start."""
    parser = argparse.ArgumentParser(prog="python -m zthumb.benchmark.serve", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is measured; the median counts (default: 12)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        for adapter in ("one", "other"):
            _write_adapter(arguments.model, models / "lora" / adapter / f"{adapter}.safetensors", seed=len(adapter))
        with _server(arguments.model, models) as (address, ready_s):
            found = {"ready_s": ready_s, **_measured(_Client(address), arguments.rounds)}
    write_json(OUT, {**found, "platform": platform_facts(), "packages": package_versions()})
    for name in ("overhead_ms", "adapter_switch_ms", "scale_change_ms", "throughput_gain", "ready_s"):
        print(f"{name:20}{found[name]:.4g}")
    print(OUT)
    return DONE


class _Client:
    """One client of the server."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session = requests.Session()
        self._session.trust_env = False

    def generate(self, **fields: Any) -> tuple[float, dict[str, float]]:
        """Seconds that the whole request took, and those that the server tells."""
        started = time.perf_counter()
        answer = self._session.post(f"{self._address}/generate", json={**PROMPT, **fields}, timeout=600)
        took = time.perf_counter() - started
        if not answer.ok:
            raise StageFailed(f"{self._address}: {answer.status_code}: {answer.text[:200]}")
        timings: dict[str, float] = answer.json()["meta"]["timings"]
        return took, timings

    def another(self) -> "_Client":
        """One more of the same server."""
        return _Client(self._address)


def _measured(client: _Client, rounds: int) -> dict[str, Any]:
    for adapter in ("one", "other"):
        client.generate(loras=[{"id": adapter, "weight": 1.0}])
    overhead, switch, scale, gain = [], [], [], []
    for turn in tqdm(range(rounds), desc="bench", unit="round"):
        took, timings = client.generate(seed=turn)
        overhead.append(took - timings["generate"])
        for adapter in ("one", "other"):
            switch.append(client.generate(seed=turn, loras=[{"id": adapter, "weight": 1.0}])[1]["lora"])
        scale.append(client.generate(seed=turn, loras=[{"id": "other", "weight": 0.5 + 0.01 * turn}])[1]["lora"])
        gain.append(_one_at_a_time(client) / _together(client))
    return {
        "overhead_ms": 1000 * statistics.median(overhead),
        "adapter_switch_ms": 1000 * statistics.median(switch),
        "scale_change_ms": 1000 * statistics.median(scale),
        "throughput_gain": statistics.median(gain),
        "clients": CLIENTS,
        "rounds": rounds,
        "steps": PROMPT["steps"],
    }


def _one_at_a_time(client: _Client) -> float:
    started = time.perf_counter()
    for seed in range(CLIENTS):
        client.generate(seed=seed)
    return time.perf_counter() - started


def _together(client: _Client) -> float:
    clients = [client.another() for _ in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda pair: pair[1].generate(seed=pair[0]), enumerate(clients)))
    return time.perf_counter() - started


@contextmanager
def _server(model: Path, models: Path) -> Iterator[tuple[str, float]]:
    """A server of its own on a free port; its address and the seconds from its start to its first picture."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What the user has set for a server of his own is not for this one.
    others = {name: value for name, value in os.environ.items() if not name.startswith(("ZTHUMB_", "Z_LORA_"))}
    folders = {"ZTHUMB_MODELS_FOLDER": str(models), "ZTHUMB_DATA_FOLDER": str(models.parent / "data")}
    started, address = time.perf_counter(), f"http://127.0.0.1:{port}"
    command_line = [sys.executable, "-m", "zthumb.server.main", "--port", str(port), "--model", str(model)]
    process = subprocess.Popen(command_line, env={**others, **folders}, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(address):
            if process.poll() is not None:
                raise StageFailed("the server ended before it was ready.")
            time.sleep(0.02)
        yield address, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/health/ready", timeout=5).ok
    except requests.RequestException:
        return False


def _write_adapter(model: Path, path: Path, seed: int) -> None:
    """A random adapter of every attention of the base's denoiser."""
    import torch

    from zthumb import families
    from zthumb.adapters import skeleton
    from zthumb.adapters.adapter import Adapter, Layer
    from zthumb.adapters.layouts import save_kohya
    from zthumb.sources.local import family_of

    family = families.get(family_of(model))
    base = skeleton.of_folder(model.name, model, family)
    endings = tuple(family.lora_targets(family.denoiser_part)["attention"])
    generator = torch.Generator().manual_seed(seed)
    layers = {
        name: Layer(
            down=0.01 * torch.randn(RANK, shape[1], generator=generator), up=torch.randn(shape[0], RANK, generator=generator)
        )
        for name, shape in base.shapes.items()
        if name.startswith(f"{family.denoiser_part}.") and name.endswith(endings)
    }
    path.parent.mkdir(parents=True)
    save_kohya(Adapter(layers), path, base.layers_per_block, {"ss_v2": "False"})


if __name__ == "__main__":
    sys.exit(main())
