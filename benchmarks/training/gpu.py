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
from training.encoding.encoded_examples import Examples
from training.memory.estimate import estimate, operations_per_second
from training.model import peft_adapter
from training.model.adapted_model import DTYPES, Adapted, AdaptedModel
from training.recipe import Recipe
from training.steps.train_step import TrainStep
from zthumb import families
from zthumb.diffusion.ddpm import DDPM
from zthumb.families.base import ModelFamily

OUT = Path("outputs/bench/gpu.json")
BATCH_SIZES, WARMUP_STEPS, STEPS = (1, 4), 3, 12
IMAGES, TIMESTEPS = 8, 1000


@dataclass(frozen=True)
class Row:
    """One setting: images per second, share of the bf16 matrix-product peak measured here, peak bytes measured and estimated."""

    batch: int
    gradient_checkpointing: bool
    compile: bool
    images_per_second: float
    share_of_peak: float
    peak_bytes: int
    estimated_peak_bytes: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure every setting and write ``outputs/bench/gpu.json``; exit code 0 done, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"file for the figures (default: {OUT})")
    out: Path = parser.parse_args(argv).out
    if not torch.cuda.is_available():
        raise BadInput("this machine has no NVIDIA GPU. `make bench_train` measures on the CPU.")
    device, family = torch.device("cuda"), families.get("sdxl")
    peak = operations_per_second(device, torch.bfloat16)
    rows = []
    for batch_size, checkpointing, compiled in itertools.product(BATCH_SIZES, (False, True), (False, True)):
        rows.append(measure(_recipe(batch_size, checkpointing, compiled), family, family.references[0], device, peak))
        print(rows[-1], flush=True)
        # Written after each setting, so that an interrupted run leaves what it measured.
        header = {"device": torch.cuda.get_device_name(), "peak_operations_per_second": peak}
        write_json(out, {**header, "rows": [asdict(row) for row in rows], "packages": package_versions()})
    return DONE


def _recipe(batch_size: int, checkpointing: bool, compiled: bool) -> Recipe:
    return Recipe.model_validate(
        {
            "base": "random weights",
            "resolution": 1024,
            "batch_size": batch_size,
            "precision": "bf16",
            "gradient_checkpointing": checkpointing,
            "compile": compiled,
            "prior": {"weight": 0},
        }
    )


def measure(recipe: Recipe, family: ModelFamily, folder: Path, device: torch.device, peak: float, steps: int = STEPS) -> Row:
    """Measure one setting with a new denoiser of the configuration in ``folder``; ``peak`` is in operations per second."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    train_step = _train_step(recipe, family, folder, device)
    for step in range(WARMUP_STEPS):
        train_step.step(step)
    started = time.perf_counter()
    for step in range(WARMUP_STEPS, WARMUP_STEPS + steps):
        # Each step ends by reading its loss, which waits for the device.
        train_step.step(step)
    seconds = (time.perf_counter() - started) / steps
    estimated = estimate(recipe, family, folder, device)
    return Row(
        batch=recipe.batch_size,
        gradient_checkpointing=recipe.gradient_checkpointing,
        compile=recipe.compile,
        images_per_second=round(recipe.batch_size / seconds, 3),
        share_of_peak=round(estimated.operations / seconds / peak, 4),
        peak_bytes=_peak_bytes(device),
        estimated_peak_bytes=estimated.peak,
    )


def _train_step(recipe: Recipe, family: ModelFamily, folder: Path, device: torch.device) -> TrainStep:
    """Return the trainer's own step over images of noise."""
    configuration = family.configuration(folder, family.denoiser_component)
    with device:
        torch.manual_seed(0)
        denoiser = family.build_component(family.denoiser_component, configuration).to(DTYPES[recipe.precision])
        denoiser.requires_grad_(False)
        latents, conditioning = family.dummy_inputs(configuration, IMAGES, recipe.resolution, recipe.resolution)
    components = {family.denoiser_component: denoiser}
    peft_adapter.attach(components, recipe, family)
    process = DDPM(torch.linspace(0.999, 0.005, TIMESTEPS, device=device), "epsilon")
    model = AdaptedModel(family, Adapted(family, components), process, DTYPES[recipe.precision], device)
    examples = Examples(
        latents=tuple(torch.randn_like(latents)),
        conditioning=conditioning,
        unconditional=conditioning.select([0]),
        masks=(None,) * IMAGES,
        names=tuple(f"noise {number}" for number in range(IMAGES)),
    )
    return TrainStep(recipe, model, Accelerator(cpu=device.type == "cpu"), examples, None)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
