"""``make bench_train``: seconds per step of this trainer, of a plain loop, and of the model's own passes, taken in turns."""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import trange

from benchmarks.training.ours import OurLoop
from benchmarks.training.plain import PlainLoop
from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts
from foundation.offline import stay_offline
from training import recipe as recipes
from training.recipe import Recipe
from training.steps.train_step import TrainStep
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya

OUT = Path("outputs/bench/train.json")
FEW, MANY = 2, 8
"""The two step counts between which the slope is taken, so that what is done once does not count."""


FAST = ("precision=bf16", "compile=true")
"""What a processor that multiplies sixteen-bit floats itself is given besides the recipe."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/train.json``; exit code 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.train", description=__doc__)
    parser.add_argument("--dataset", type=Path, default=Path("datasets/z"), help="a prepared data set (default: datasets/z)")
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is measured; the median counts (default: 12)")
    arguments = parser.parse_args(argv)
    stay_offline()
    # Prior preservation is work that the plain loop does not do.
    shipped, fast = (recipes.load(arguments.recipe, ["prior.weight=0", *more]) for more in ((), FAST))
    found = measure(shipped, fast, arguments.dataset, arguments.rounds)
    write_json(OUT, found)
    for name in ("seconds_per_step", "plain_seconds_per_step", "speedup", "overhead_share", "cache_seconds", "peak_rss_mb"):
        print(f"{name:24}{found[name]:.4g}")
    print(f"{'with ' + ', '.join(FAST):40}{found['fast']['speedup']:.4g}")
    print(OUT)
    return DONE


def measure(shipped: Recipe, fast: Recipe, folder: Path, rounds: int) -> dict[str, Any]:
    """All figures, the loops taking turns so that what else the machine does falls on each alike."""
    ours = OurLoop(shipped, folder)
    _seconds_per_step(ours.train_step.step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    faster, plain = OurLoop(fast, folder), PlainLoop(shipped, ours.family, ours.load(), ours.dataset, folder)
    contenders: dict[str, Callable[[int], object]] = {
        "ours": ours.train_step.step,
        "model": ours.model_alone,
        "fast": faster.train_step.step,
        "fast model": faster.model_alone,
        "plain": plain.step,
    }
    for step in contenders.values():
        step(0)  # what is compiled is compiled now
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in trange(rounds, desc="bench", unit="round"):
        for name, step in contenders.items():
            times[name].append(_seconds_per_step(step))
    return {
        **_compared(times["ours"], times["model"], times["plain"]),
        "plain_seconds_per_step": statistics.median(times["plain"]),
        "fast": {"settings": FAST, **_compared(times["fast"], times["fast model"], times["plain"])},
        "cache_seconds": ours.cache_seconds,
        "peak_rss_mb": peak,
        "adapter_bytes": _adapter_bytes(ours.train_step, shipped),
        "batch": shipped.batch_size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "platform": platform_facts(),
        "packages": package_versions(),
    }


def _compared(ours: list[float], model: list[float], plain: list[float]) -> dict[str, float]:
    return {
        "seconds_per_step": statistics.median(ours),
        "model_seconds_per_step": statistics.median(model),
        "speedup": statistics.median(slow / quick for quick, slow in zip(ours, plain, strict=True)),
        "overhead_share": statistics.median(1 - alone / whole for whole, alone in zip(ours, model, strict=True)),
    }


def _seconds_per_step(step: Callable[[int], object]) -> float:
    """The slope between a few steps and many."""
    return (_seconds(step, MANY) - _seconds(step, FEW)) / (MANY - FEW)


def _seconds(step: Callable[[int], object], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        step(number)
    return time.perf_counter() - started


def _adapter_bytes(loop: TrainStep, recipe: Recipe) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_kohya(Adapter.of_peft(loop.adapter(), recipe.adapter.scale), path, layers_per_block=1, metadata={})
        return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
