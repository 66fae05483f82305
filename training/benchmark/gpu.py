"""``make bench_gpu``: training steps of full-size SDXL with random weights at 1024² on an NVIDIA GPU."""

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions
from training.memory.estimate import Estimate, estimate, operations_per_second
from training.model import adapter
from training.model.base import Adapted, Base
from training.model.objective import squared_errors
from training.recipe import Recipe
from zthumb import families
from zthumb.families.base import Conditioning, Family

OUT = Path("outputs/bench/gpu.json")
BATCHES, WARM_UP, STEPS = (1, 4), 3, 12
NOISE_LEVELS = 1000


@dataclass(frozen=True)
class Row:
    """One setting: pictures a second, share of the bf16 matrix-product peak measured here, peak bytes, found and foretold."""

    batch: int
    gradient_checkpointing: bool
    compile: bool
    pictures_per_second: float
    share_of_peak: float
    peak_bytes: int
    estimated_peak_bytes: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure every setting and write ``outputs/bench/gpu.json``; exit code 0 done, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m training.benchmark.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default: {OUT})")
    out: Path = parser.parse_args(argv).out
    if not torch.cuda.is_available():
        raise BadInput("no NVIDIA GPU is here. `make bench_train` measures on the CPU.")
    device = torch.device("cuda")
    peak = operations_per_second(device, torch.bfloat16)
    rows = []
    for batch, checkpointing, compiled in itertools.product(BATCHES, (False, True), (False, True)):
        rows.append(measure(batch, checkpointing, compiled, peak, device))
        print(rows[-1], flush=True)
        # After each, so that a run that is cut off leaves what it measured.
        found = {"device": torch.cuda.get_device_name(), "peak_operations_per_second": peak}
        write_json(out, {**found, "rows": [asdict(row) for row in rows], "packages": package_versions()})
    return DONE


def measure(batch: int, checkpointing: bool, compiled: bool, peak: float, device: torch.device) -> Row:
    """One setting, with a fresh UNet."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    family = families.get("sdxl")
    recipe = Recipe.model_validate(
        {
            "base": "random weights",
            "resolution": 1024,
            "batch": batch,
            "precision": "bf16",
            "gradient_checkpointing": checkpointing,
            "compile": compiled,
            "prior": {"weight": 0},
        }
    )
    seconds = _seconds_per_step(recipe, family, device)
    needed: Estimate = estimate(recipe, family, family.reference, device)
    return Row(
        batch=batch,
        gradient_checkpointing=checkpointing,
        compile=compiled,
        pictures_per_second=round(batch / seconds, 3),
        share_of_peak=round(needed.operations / seconds / peak, 4),
        peak_bytes=torch.cuda.max_memory_allocated(),
        estimated_peak_bytes=needed.peak,
    )


def _seconds_per_step(recipe: Recipe, family: Family, device: torch.device) -> float:
    with device:
        torch.manual_seed(0)
        denoiser = family.empty_part(family.denoiser_part, _configuration(family)).to(torch.bfloat16)
        denoiser.requires_grad_(False)
        adapter.attach({family.denoiser_part: denoiser}, recipe, family)
        noisy, told = family.empty_inputs(_configuration(family), recipe.batch, recipe.resolution)
    adapted = Adapted(family, {family.denoiser_part: denoiser})
    base = Base(family, adapted, torch.linspace(0.999, 0.005, NOISE_LEVELS, device=device), "epsilon", torch.bfloat16)
    optimizer = torch.optim.AdamW(adapter.trained(denoiser), lr=1e-4, fused=True)
    for number in range(WARM_UP + STEPS):
        if number == WARM_UP:
            torch.cuda.synchronize()
            started = time.perf_counter()
        _step(base, optimizer, noisy, told)
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / STEPS


def _configuration(family: Family) -> Mapping[str, Any]:
    return family.configuration(family.reference, family.denoiser_part)


def _step(base: Base, optimizer: torch.optim.Optimizer, noisy: Tensor, told: Conditioning) -> None:
    noise = torch.randn_like(noisy)
    timesteps = torch.randint(NOISE_LEVELS, (len(noisy),), device=noisy.device)
    loss = squared_errors(base.predict(noise, timesteps, told), noise).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    sys.exit(main())
