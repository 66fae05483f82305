"""``make bench_gpu``: training steps of full-size SDXL with random weights at 1024² on an NVIDIA GPU."""

import argparse
import gc
import itertools
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions
from training.encoding.examples import Examples
from training.memory.estimate import estimate, operations_per_second
from training.model import adapter
from training.model.adapted_model import DTYPES, Adapted, AdaptedModel
from training.recipe import Recipe
from training.steps.train_step import TrainStep
from zthumb import families
from zthumb.families.base import Family

OUT = Path("outputs/bench/gpu.json")
BATCHES, WARM_UP, STEPS = (1, 4), 3, 12
IMAGES, NOISE_LEVELS = 8, 1000


@dataclass(frozen=True)
class Row:
    """One setting: images a second, share of the bf16 matrix-product peak measured here, peak bytes, found and foretold."""

    batch: int
    gradient_checkpointing: bool
    compile: bool
    images_per_second: float
    share_of_peak: float
    peak_bytes: int
    estimated_peak_bytes: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure every setting and write ``outputs/bench/gpu.json``; exit code 0 done, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default: {OUT})")
    out: Path = parser.parse_args(argv).out
    if not torch.cuda.is_available():
        raise BadInput("no NVIDIA GPU is here. `make bench_train` measures on the CPU.")
    device, family = torch.device("cuda"), families.get("sdxl")
    peak = operations_per_second(device, torch.bfloat16)
    rows = []
    for batch, checkpointing, compiled in itertools.product(BATCHES, (False, True), (False, True)):
        rows.append(measure(_recipe(batch, checkpointing, compiled), family, family.reference, device, peak))
        print(rows[-1], flush=True)
        # After each, so that a run that is cut off leaves what it measured.
        found = {"device": torch.cuda.get_device_name(), "peak_operations_per_second": peak}
        write_json(out, {**found, "rows": [asdict(row) for row in rows], "packages": package_versions()})
    return DONE


def _recipe(batch: int, checkpointing: bool, compiled: bool) -> Recipe:
    return Recipe.model_validate(
        {
            "base": "random weights",
            "resolution": 1024,
            "batch_size": batch,
            "precision": "bf16",
            "gradient_checkpointing": checkpointing,
            "compile": compiled,
            "prior": {"weight": 0},
        }
    )


def measure(recipe: Recipe, family: Family, folder: Path, device: torch.device, peak: float, steps: int = STEPS) -> Row:
    """One setting, with a fresh denoiser of the configuration in ``folder``; ``peak`` is in operations a second."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    loop = _loop(recipe, family, folder, device)
    for step in range(WARM_UP):
        loop.step(step)
    started = time.perf_counter()
    for step in range(WARM_UP, WARM_UP + steps):
        # Each ends with reading its loss, which waits for the device.
        loop.step(step)
    seconds = (time.perf_counter() - started) / steps
    needed = estimate(recipe, family, folder, device)
    return Row(
        batch=recipe.batch_size,
        gradient_checkpointing=recipe.gradient_checkpointing,
        compile=recipe.compile,
        images_per_second=round(recipe.batch_size / seconds, 3),
        share_of_peak=round(needed.operations / seconds / peak, 4),
        peak_bytes=_peak_bytes(device),
        estimated_peak_bytes=needed.peak,
    )


def _loop(recipe: Recipe, family: Family, folder: Path, device: torch.device) -> TrainStep:
    """The trainer's own loop over images of noise."""
    configuration = family.configuration(folder, family.denoiser_component)
    with device:
        torch.manual_seed(0)
        denoiser = family.build_component(family.denoiser_component, configuration).to(DTYPES[recipe.precision])
        denoiser.requires_grad_(False)
        latents, told = family.empty_inputs(configuration, IMAGES, recipe.resolution)
    parts = {family.denoiser_component: denoiser}
    adapter.attach(parts, recipe, family)
    levels = torch.linspace(0.999, 0.005, NOISE_LEVELS, device=device)
    base = AdaptedModel(family, Adapted(family, parts), levels, "epsilon", DTYPES[recipe.precision])
    examples = Examples(
        tuple(torch.randn_like(latents)), told, (None,) * IMAGES, tuple(f"noise {number}" for number in range(IMAGES))
    )
    return TrainStep(recipe, base, Accelerator(cpu=device.type == "cpu"), examples, None)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
