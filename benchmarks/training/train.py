"""``make bench_train``: seconds per step of this trainer, of a plain loop, and of the model's own passes, measured in turns."""

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

from benchmarks.training.plain_loop import PlainLoop
from benchmarks.training.trainer_loop import TrainerLoop
from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info
from foundation.offline import stay_offline
from training import recipe as recipes
from training.recipe import Recipe
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya

OUT = Path("outputs/bench/train.json")
FEW_STEPS, MANY_STEPS = 2, 8
"""The step counts whose times are subtracted, so that work done once is not part of the time per step."""


FAST = ("precision=bf16", "compile=true")
"""Recipe overrides for a CPU with native 16-bit float multiplication."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/train.json``; exit code 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.train", description=__doc__)
    parser.add_argument("--dataset", type=Path, default=Path("datasets/z"), help="a prepared data set (default: datasets/z)")
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument("--rounds", type=int, default=12, help="number of rounds; figures are medians (default: 12)")
    arguments = parser.parse_args(argv)
    stay_offline()
    # Prior preservation is off: the plain loop has none.
    shipped, fast = (recipes.load(arguments.recipe, ["prior.weight=0", *overrides]) for overrides in ((), FAST))
    figures = measure(shipped, fast, arguments.dataset, arguments.rounds)
    write_json(OUT, figures)
    for name in ("seconds_per_step", "plain_seconds_per_step", "speedup", "overhead_share", "cache_seconds", "peak_rss_mb"):
        print(f"{name:24}{figures[name]:.4g}")
    print(f"{'with ' + ', '.join(FAST):40}{figures['fast']['speedup']:.4g}")
    print(OUT)
    return DONE


def measure(shipped: Recipe, fast: Recipe, folder: Path, rounds: int) -> dict[str, Any]:
    """Return all figures; the loops take turns, so that other load on the machine affects each equally."""
    trainer = TrainerLoop(shipped, folder)
    _seconds_per_step(trainer.train_step.step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    fast_trainer = TrainerLoop(fast, folder)
    plain = PlainLoop(shipped, trainer.family, trainer.load_pipeline(), trainer.dataset, folder)
    loops: dict[str, Callable[[int], object]] = {
        "trainer": trainer.train_step.step,
        "model": trainer.model_passes,
        "fast trainer": fast_trainer.train_step.step,
        "fast model": fast_trainer.model_passes,
        "plain": plain.step,
    }
    for step in loops.values():
        step(0)  # includes compilation
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in trange(rounds, desc="bench", unit="round"):
        for name, step in loops.items():
            times[name].append(_seconds_per_step(step))
    return {
        **_compare(times["trainer"], times["model"], times["plain"]),
        "plain_seconds_per_step": statistics.median(times["plain"]),
        "fast": {"settings": FAST, **_compare(times["fast trainer"], times["fast model"], times["plain"])},
        "cache_seconds": trainer.cache_seconds,
        "peak_rss_mb": peak,
        "adapter_bytes": _adapter_bytes(trainer, shipped),
        "batch": shipped.batch_size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "platform": platform_info(),
        "packages": package_versions(),
    }


def _compare(trainer: list[float], model: list[float], plain: list[float]) -> dict[str, float]:
    return {
        "seconds_per_step": statistics.median(trainer),
        "model_seconds_per_step": statistics.median(model),
        "speedup": statistics.median(plain_s / trainer_s for trainer_s, plain_s in zip(trainer, plain, strict=True)),
        "overhead_share": statistics.median(1 - model_s / trainer_s for trainer_s, model_s in zip(trainer, model, strict=True)),
    }


def _seconds_per_step(step: Callable[[int], object]) -> float:
    """Return the seconds per step, as the slope between a few steps and many."""
    return (_seconds(step, MANY_STEPS) - _seconds(step, FEW_STEPS)) / (MANY_STEPS - FEW_STEPS)


def _seconds(step: Callable[[int], object], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        step(number)
    return time.perf_counter() - started


def _adapter_bytes(trainer: TrainerLoop, recipe: Recipe) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        adapter = Adapter.from_peft(trainer.train_step.adapter(), recipe.adapter.scale)
        save_kohya(
            adapter, path, trainer.family, trainer.family.configuration(trainer.base, trainer.family.denoiser_component), {}
        )
        return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
