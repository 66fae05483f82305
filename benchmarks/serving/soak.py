"""``make soak``: send thousands of requests with dozens of adapters and record the server's memory."""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.serving.server_process import Client, RunningServer, run_server, write_adapter
from foundation.errors import DONE, FAILED, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info

OUT = Path("outputs/bench/soak.json")
MEMORY_SAMPLES = 40
MAX_GROWTH = 0.03
"""The most by which memory may be higher in the last quarter than in the second, as a share."""
_ADAPTER_CACHE_MB = 64
"""Fits only some of the adapters, so that adapters are loaded and evicted again and again."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak and write ``outputs/bench/soak.json``; exit code 0 memory stayed flat, 1 it grew or a request failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.soak", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--requests", type=int, default=2000, help="number of requests (default: 2000)")
    parser.add_argument("--adapters", type=int, default=50, help="number of adapters (default: 50)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        for number in tqdm(range(arguments.adapters), desc="adapters", unit="adapter"):
            write_adapter(arguments.model, models / "lora" / f"a{number}" / f"a{number}.safetensors", seed=number)
        with run_server(arguments.model, models, {"ZTHUMB_ADAPTER_MEMORY_MB": str(_ADAPTER_CACHE_MB)}) as server:
            memory = _send_requests(server, arguments.requests, arguments.adapters)
    growth = _growth(memory)
    figures = {"requests": arguments.requests, "adapters": arguments.adapters, "memory_mb": memory, "growth": round(growth, 4)}
    write_json(OUT, {**figures, "platform": platform_info(), "packages": package_versions()})
    print(f"memory: first {memory[0]:.0f} MB, maximum {max(memory):.0f} MB, last {memory[-1]:.0f} MB; growth {growth:+.1%}")
    print(OUT)
    return DONE if growth <= MAX_GROWTH else FAILED


def _send_requests(server: RunningServer, requests: int, adapters: int) -> list[float]:
    """Return the server's memory in MB at regular intervals; raise ``StageFailed`` at the first request that fails."""
    client, rng = Client(server.address), random.Random(0)
    memory, interval = list[float](), max(1, requests // MEMORY_SAMPLES)
    for number in tqdm(range(requests), desc="soak", unit="request"):
        adapter_numbers = rng.sample(range(adapters), rng.choice((0, 1, 1, 2)))
        loras = [{"id": f"a{adapter}", "weight": round(rng.uniform(-1, 1.5), 2)} for adapter in adapter_numbers]
        client.time_request(steps=1, seed=number, loras=loras, batch=rng.choice((1, 1, 2)))
        if number % interval == 0:
            memory.append(_resident_mb(server.pid))
    return memory


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _growth(memory: Sequence[float]) -> float:
    """Return the growth from the second quarter, when everything that is loaded once is loaded, to the last."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) / statistics.median(memory[quarter : 2 * quarter]) - 1


if __name__ == "__main__":
    sys.exit(main())
