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
from accelerate import Accelerator
from tqdm import trange

from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts
from training import recipe as recipes
from training.benchmark.plain import PlainLoop
from training.data.dataset import read_dataset
from training.encoding.cache import Cache
from training.encoding.examples import Encoders
from training.model.base import DTYPES, Base
from training.recipe import Recipe
from training.steps.batches import Sampler
from training.steps.loop import Loop
from zthumb import families
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya
from zthumb.sources.local import family_of, find_base
from zthumb.sources.offline import stay_offline

OUT = Path("outputs/bench/train.json")
FEW, MANY = 2, 8
"""The two step counts between which the slope is taken, so that what is done once does not count."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/train.json``; exit code 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m training.benchmark.train", description=__doc__)
    parser.add_argument("--dataset", type=Path, default=Path("datasets/z"), help="a prepared data set (default: datasets/z)")
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is measured; the median counts (default: 12)")
    arguments = parser.parse_args(argv)
    stay_offline()
    # Prior preservation is work that the plain loop does not do.
    recipe = recipes.load(arguments.recipe, ["prior.weight=0"])
    found = measure(recipe, arguments.dataset, arguments.rounds)
    write_json(OUT, found)
    for name in ("seconds_per_step", "plain_seconds_per_step", "speedup", "overhead_share", "cache_seconds", "peak_rss_mb"):
        print(f"{name:24}{found[name]:.4g}")
    print(OUT)
    return DONE


def measure(recipe: Recipe, folder: Path, rounds: int) -> dict[str, Any]:
    """All figures, the three loops taking turns so that what else the machine does falls on each alike."""
    base, dataset = find_base(recipe.base), read_dataset(folder)
    family = families.get(family_of(base))
    pipeline = family.load(base, DTYPES[recipe.precision], torch.device("cpu"))
    with tempfile.TemporaryDirectory() as empty:
        started = time.perf_counter()
        encoders = Encoders(family, pipeline, base, Cache(Path(empty), 2**30), pipeline.device)
        examples = encoders.encode(dataset.of("train"), folder)
        cache_seconds = time.perf_counter() - started
    adapted = Base.of(pipeline, family, recipe, pipeline.device)
    loop = Loop(recipe, adapted, Accelerator(cpu=True), examples, None)
    _seconds_per_step(loop.step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    plain = PlainLoop(recipe, family, family.load(base, torch.float32, torch.device("cpu")), dataset, folder)
    batch = Sampler(recipe, examples, None, len(adapted.levels)).passes(0)[0][0]

    def model_alone(_: int) -> None:
        adapted.predict(batch.latents, batch.timesteps, batch.conditioning).sum().backward()  # type: ignore[no-untyped-call]

    contenders: dict[str, Callable[[int], object]] = {"ours": loop.step, "model": model_alone, "plain": plain.step}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in trange(rounds, desc="bench", unit="round"):
        for name, step in contenders.items():
            times[name].append(_seconds_per_step(step))
    ours, model, slow = (statistics.median(times[name]) for name in contenders)
    return {
        "seconds_per_step": ours,
        "plain_seconds_per_step": slow,
        "speedup": statistics.median(b / a for a, b in zip(times["ours"], times["plain"], strict=True)),
        "model_seconds_per_step": model,
        "overhead_share": statistics.median(1 - b / a for a, b in zip(times["ours"], times["model"], strict=True)),
        "cache_seconds": cache_seconds,
        "peak_rss_mb": peak,
        "adapter_bytes": _adapter_bytes(loop, recipe),
        "batch": recipe.batch,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "platform": platform_facts(),
        "packages": package_versions(),
    }


def _seconds_per_step(step: Callable[[int], object]) -> float:
    """The slope between a few steps and many."""
    return (_seconds(step, MANY) - _seconds(step, FEW)) / (MANY - FEW)


def _seconds(step: Callable[[int], object], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        step(number)
    return time.perf_counter() - started


def _adapter_bytes(loop: Loop, recipe: Recipe) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_kohya(Adapter.of_peft(loop.adapter(), recipe.adapter.scale), path, layers_per_block=1, metadata={})
        return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
