"""``make soak``: thousands of requests with dozens of adapters, and what the server's memory does meanwhile."""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.serving.served import Client, Served, server, write_adapter
from foundation.errors import DONE, FAILED, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts

OUT = Path("outputs/bench/soak.json")
LOOKS = 40
GROWTH = 0.03
"""The most by which memory may be higher in the last quarter than in the second, as a share."""
_ROOM_MB = 64
"""Room for adapters: for some of them, so that they are put on and taken off again and again."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Ask and write ``outputs/bench/soak.json``; exit code 0 memory stayed flat, 1 it grew or a request failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.soak", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--requests", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--adapters", type=int, default=50, help="of how many adapters (default: 50)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        for number in tqdm(range(arguments.adapters), desc="adapters", unit="adapter"):
            write_adapter(arguments.model, models / "lora" / f"a{number}" / f"a{number}.safetensors", seed=number)
        with server(arguments.model, models, {"ZTHUMB_ADAPTER_MEMORY_MB": str(_ROOM_MB)}) as served:
            memory = _asked(served, arguments.requests, arguments.adapters)
    growth = _growth(memory)
    found = {"requests": arguments.requests, "adapters": arguments.adapters, "memory_mb": memory, "growth": round(growth, 4)}
    write_json(OUT, {**found, "platform": platform_facts(), "packages": package_versions()})
    print(f"memory {memory[0]:.0f} MB at first, {max(memory):.0f} at most, {memory[-1]:.0f} at last; growth {growth:+.1%}")
    print(OUT)
    return DONE if growth <= GROWTH else FAILED


def _asked(served: Served, requests: int, adapters: int) -> list[float]:
    """The server's memory in MB at even distances while it answers; ``StageFailed`` at the first request that fails."""
    client, drawn = Client(served.address), random.Random(0)
    memory, every = list[float](), max(1, requests // LOOKS)
    for number in tqdm(range(requests), desc="soak", unit="request"):
        chosen = drawn.sample(range(adapters), drawn.choice((0, 1, 1, 2)))
        loras = [{"id": f"a{each}", "weight": round(drawn.uniform(-1, 1.5), 2)} for each in chosen]
        client.generate(steps=1, seed=number, loras=loras, batch=drawn.choice((1, 1, 2)))
        if number % every == 0:
            memory.append(_resident_mb(served.process))
    return memory


def _resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _growth(memory: Sequence[float]) -> float:
    """From the second quarter, when all that is loaded once is, to the last."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) / statistics.median(memory[quarter : 2 * quarter]) - 1


if __name__ == "__main__":
    sys.exit(main())
