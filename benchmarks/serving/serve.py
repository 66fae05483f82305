"""``make bench_serve``: what the server adds to an image, how fast adapters change, what generating together gains."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.serving.served import PROMPT, Client, server, write_adapter
from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts

OUT = Path("outputs/bench/serve.json")
CLIENTS = 8


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/serve.json``; exit code 0 done, 1 the server does not start."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.serve", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is measured; the median counts (default: 12)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        for adapter in ("one", "other"):
            write_adapter(arguments.model, models / "lora" / adapter / f"{adapter}.safetensors", seed=len(adapter))
        with server(arguments.model, models) as served:
            found = {"ready_s": served.ready_s, **_measured(Client(served.address), arguments.rounds)}
    write_json(OUT, {**found, "platform": platform_facts(), "packages": package_versions()})
    for name in ("overhead_ms", "adapter_switch_ms", "scale_change_ms", "throughput_gain", "ready_s"):
        print(f"{name:20}{found[name]:.4g}")
    print(OUT)
    return DONE


def _measured(client: Client, rounds: int) -> dict[str, Any]:
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


def _one_at_a_time(client: Client) -> float:
    started = time.perf_counter()
    for seed in range(CLIENTS):
        client.generate(seed=seed)
    return time.perf_counter() - started


def _together(client: Client) -> float:
    clients = [client.another() for _ in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda pair: pair[1].generate(seed=pair[0]), enumerate(clients)))
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
