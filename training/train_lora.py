"""Entry point 2: a recipe and a prepared data set → a trained adapter."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.arguments import run_name
from foundation.errors import DONE, BadInput, command
from foundation.hashing import hash_file
from foundation.manifest import Stage
from training import recipe as recipes
from training.data.dataset import NAME as DATASET
from training.data.dataset import Dataset, read_dataset
from training.recipe import Recipe
from training.run import METRICS, RECIPE, Run
from zthumb.sources.local import family_of, find_base, hash_base
from zthumb.sources.offline import stay_offline

if TYPE_CHECKING:
    from training.loop import Loop

RUNS, CACHE = Path("outputs/lora"), Path("outputs/cache")
CACHE_LIMIT = 20 * 2**30
"""Bytes of encoded pictures, captions and prior pictures that are kept for later runs."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train one adapter from a recipe; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    recipe = recipes.load(arguments.recipe, arguments.set)  # 1. what to do
    base = find_base(recipe.base)  # 2. onto which model
    dataset = _dataset(arguments.dataset, recipe)  # 3. from which pictures
    inputs = {recipe.base: hash_base(base), DATASET: hash_file(arguments.dataset / DATASET)}
    stage = Stage("train", inputs, recipe.model_dump(mode="json"), recipe.seed)
    with Run.hold(RUNS / arguments.run) as run:  # 4. where it goes
        if not arguments.force and stage.is_up_to_date(run.folder):
            print(f"train: {run.folder} is up to date")
            return DONE
        if arguments.force:
            run.clear()
        run.begin(recipe)
        _train(_loop(recipe, base, stage.inputs[recipe.base], dataset, arguments.dataset), run, stage)  # 5. the work
        stage.write_manifest(run.folder, _outputs(run))  # 6. what came of it
    print(f"train: {recipe.steps} steps, {run.folder}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train_lora",
        description="Train a LoRA on a prepared data set and write checkpoints and metrics to outputs/lora/RUN. A run that was "
        "interrupted goes on from its last checkpoint and ends with the same bytes.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the prepared data set's folder")
    parser.add_argument("--run", type=run_name, required=True, help="the run's name")
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe, as in optimizer.lr=2e-4"
    )
    parser.add_argument("--force", action="store_true", help="train again even if nothing has changed")
    return parser


def _dataset(folder: Path, recipe: Recipe) -> Dataset:
    dataset = read_dataset(folder)
    if dataset.resolution != recipe.resolution:
        raise BadInput(
            f"{folder}: prepared at {dataset.resolution} px, but the recipe trains at {recipe.resolution}. "
            "Run `python -m training.prepare_dataset` with the same recipe."
        )
    return dataset


def _loop(recipe: Recipe, base: Path, base_sha256: str, dataset: Dataset, folder: Path) -> "Loop":
    """Load the base, encode everything that is looked at more than once, and attach the adapter."""
    stay_offline()
    import torch

    from training import prior
    from training.cache import Cache
    from training.examples import Encoders, encode_dataset
    from training.loop import Loop, attach_adapter
    from zthumb import families

    family = families.get(family_of(base))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    pipeline = family.load(base, dtype, device)
    cache = Cache(CACHE, CACHE_LIMIT)
    encoders = Encoders(family, pipeline, base, cache)
    examples = encode_dataset(dataset, folder, encoders)
    kept = None
    if recipe.prior.weight > 0 and recipe.prior.prompts:
        kept = prior.paint(recipe.prior, recipe.resolution, recipe.seed, base_sha256, encoders)
    cache.trim()
    denoiser = family.denoiser(pipeline)
    attach_adapter(denoiser, recipe.adapter, family, recipe.seed)
    return Loop(recipe, family, denoiser, family.noise_levels(pipeline), examples, kept)


def _train(loop: "Loop", run: Run, stage: Stage) -> None:
    from tqdm import tqdm

    bar = tqdm(total=loop.steps, desc="train", unit="step")
    for report in loop.resume(run, stage.fingerprint):
        # A resumed run starts in the middle; the time left is reckoned from the steps made now.
        bar.initial = bar.initial or report.step - 1
        bar.update(report.step - bar.n)
        bar.set_postfix(loss=f"{report.loss:.4f}", prior=f"{report.prior:.4f}", lr=f"{report.rate:.1e}", refresh=False)
        run.log(asdict(report))
    bar.close()


def _outputs(run: Run) -> dict[str, str]:
    last = max(run.checkpoints.glob("step-*"))
    files = [run.folder / RECIPE, run.folder / METRICS, *sorted(path for path in last.iterdir() if path.is_file())]
    return {path.relative_to(run.folder).as_posix(): hash_file(path) for path in files}


if __name__ == "__main__":
    sys.exit(main())
