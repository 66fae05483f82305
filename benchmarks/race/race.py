"""``make bench_race``: this project and its peers in turns, at equal work, as our seconds divided by theirs."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.race import own_generation
from benchmarks.race.contest import Entry, race, ratio
from benchmarks.race.environment import python_of
from benchmarks.serving.server_process import write_adapter
from foundation.arithmetic import arithmetic_info
from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info

OUT, LOGS = Path("outputs/bench/race.json"), Path("outputs/bench/race")
PEERS = Path(__file__).parent / "peers"
BATCHES = (1, 4, 8)
OURS, DIFFUSERS = "this project", "diffusers"
PACKAGES = ("diffusers", "transformers", "accelerate", "peft", "safetensors", "torch")
WAYS = {
    "one": "images, one after the other",
    "adapter": "images under an adapter, one after the other",
    "eight": "eight prompts at once",
}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/race.json``; exit code 0 done, 1 a contestant fails, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race.race", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--dataset", type=Path, default=Path("datasets/z"), help="a prepared data set (default: datasets/z)")
    parser.add_argument("--rounds", type=int, default=8, help="number of rounds; figures are medians (default: 8)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contestant (default: 2)")
    arguments = parser.parse_args(argv)
    python = python_of(DIFFUSERS, PACKAGES)
    rows = []
    for batch in BATCHES:
        rows += _train(python, arguments.dataset, batch, arguments.rounds, arguments.threads)
    for way in own_generation.WAYS:
        rows += _generate(python, way, arguments.model, arguments.rounds, arguments.threads)
    for row in rows:
        print(f"{row['what']:48}{row['peer']:12}{row['ratio']:.2f}  [{row['low']:.2f}, {row['high']:.2f}]")
    facts = {"rounds": arguments.rounds, "threads": arguments.threads, "arithmetic": arithmetic_info()}
    write_json(OUT, {"rows": rows, **facts, "platform": platform_info(), "packages": package_versions()})
    print(OUT)
    return DONE


def _train(python: Path, dataset: Path, batch: int, rounds: int, threads: int) -> list[dict[str, Any]]:
    what = f"a training step, batch {batch}"
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "benchmarks.race.own_training", folder, str(dataset), str(batch)]
        theirs = [str(python), str(PEERS / "diffusers_training.py"), folder]
        return _rows(what, ours, theirs, rounds, threads)


def _generate(python: Path, way: str, model: Path, rounds: int, threads: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        adapter = models / "lora" / "one" / "one.safetensors"
        write_adapter(model, adapter, seed=1)
        ours = [sys.executable, "-m", "benchmarks.race.own_generation", way, str(model), str(models)]
        work = {"prompts": own_generation.PROMPTS, "steps": own_generation.STEPS, "guidance": own_generation.GUIDANCE}
        theirs = [str(python), str(PEERS / "diffusers_generation.py"), way, str(model), str(adapter), json.dumps(work)]
        return _rows(WAYS[way], ours, theirs, rounds, threads)


def _rows(what: str, ours: Sequence[str], theirs: Sequence[str], rounds: int, threads: int) -> list[dict[str, Any]]:
    name = what.replace(", ", "-").replace(" ", "-")
    # Ours comes first: the others train on what it writes.
    entries = [Entry(OURS, ours, LOGS / f"{name}-ours.log"), Entry(DIFFUSERS, theirs, LOGS / f"{name}-diffusers.log")]
    times = race(entries, rounds, threads)
    return [{"what": what, "peer": DIFFUSERS, **ratio(times[OURS], times[DIFFUSERS]), "seconds": times}]


if __name__ == "__main__":
    sys.exit(main())
