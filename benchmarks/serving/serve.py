"""``make bench_serve``: the server's overhead per image, the time to switch adapters, the gain of concurrent requests."""

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

from benchmarks.serving.server_process import PROMPT, Client, run_server, write_adapter
from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info

OUT = Path("outputs/bench/serve.json")
CLIENTS = 8


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/serve.json``; exit code 0 done, 1 the server does not start."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.serve", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--rounds", type=int, default=12, help="number of rounds; figures are medians (default: 12)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        for adapter in ("one", "other"):
            write_adapter(arguments.model, models / "lora" / adapter / f"{adapter}.safetensors", seed=len(adapter))
        with run_server(arguments.model, models) as server:
            figures = {"ready_s": server.ready_s, **_measure(Client(server.address), arguments.rounds)}
    write_json(OUT, {**figures, "platform": platform_info(), "packages": package_versions()})
    for name in ("overhead_ms", "adapter_switch_ms", "scale_change_ms", "throughput_gain", "ready_s"):
        print(f"{name:20}{figures[name]:.4g}")
    print(OUT)
    return DONE


def _measure(client: Client, rounds: int) -> dict[str, Any]:
    for adapter in ("one", "other"):
        client.time_request(loras=[{"id": adapter, "weight": 1.0}])
    overhead, switch, scale, gain = [], [], [], []
    for seed in tqdm(range(rounds), desc="bench", unit="round"):
        seconds, timings = client.time_request(seed=seed)
        overhead.append(seconds - timings["generate"])
        for adapter in ("one", "other"):
            switch.append(client.time_request(seed=seed, loras=[{"id": adapter, "weight": 1.0}])[1]["lora"])
        scale.append(client.time_request(seed=seed, loras=[{"id": "other", "weight": 0.5 + 0.01 * seed}])[1]["lora"])
        gain.append(_time_sequential(client) / _time_concurrent(client))
    return {
        "overhead_ms": 1000 * statistics.median(overhead),
        "adapter_switch_ms": 1000 * statistics.median(switch),
        "scale_change_ms": 1000 * statistics.median(scale),
        "throughput_gain": statistics.median(gain),
        "clients": CLIENTS,
        "rounds": rounds,
        "steps": PROMPT["steps"],
    }


def _time_sequential(client: Client) -> float:
    started = time.perf_counter()
    for seed in range(CLIENTS):
        client.time_request(seed=seed)
    return time.perf_counter() - started


def _time_concurrent(client: Client) -> float:
    clients = [client.new_client() for _ in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda pair: pair[1].time_request(seed=pair[0]), enumerate(clients)))
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
