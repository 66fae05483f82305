"""Entry point 2: a recipe and a prepared data set → a trained adapter."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from foundation import processes
from foundation.arguments import run_name
from foundation.arithmetic import disable_onednn, make_portable
from foundation.device import choose_device, total_bytes
from foundation.errors import DONE, BadInput, StageFailed, command
from foundation.files import check_can_write, check_disk_space, write_json
from foundation.hashing import hash_file
from foundation.manifest import Stage, command_line
from foundation.offline import stay_offline
from training import recipe as recipes
from training.data.dataset import NAME as DATASET
from training.data.dataset import Dataset, read_dataset
from training.family_check import check_family
from training.recipe import Recipe
from training.steps.run import CHOSEN, METRICS, RECIPE, VALIDATION, Run
from training.validation import checkpoint_choice
from training.validation.records import Validation
from zthumb import families
from zthumb.sources.bases import find_base, find_configuration
from zthumb.sources.local import INDEX, family_of, hash_base

if TYPE_CHECKING:
    from training.steps.train_step import Report
    from training.steps.trainer import Trainer
    from zthumb.families.base import ModelFamily

RUNS = Path("outputs/lora")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train one adapter from a recipe; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _arguments(argv)
    recipe = recipes.load(arguments.recipe, arguments.set)  # 1. the recipe
    if epochs := [override for override in arguments.set if override.startswith("epochs=")]:
        print(f"train: note: --set {epochs[-1]} will be converted to steps once the number of images is known")
    if arguments.estimate:
        _print_estimate(recipe, _has_own_prior(arguments.dataset))
        return DONE
    dataset = _read_dataset(arguments.dataset, recipe)  # 2. the images
    recipe = _in_steps(recipe, dataset)
    base = find_base(recipe.base, recipe.vae)  # 3. the base
    family = families.get(family_of(base))
    check_family(recipe, family)
    recipe = _fit(recipe, family, base, bool(dataset.of("regularization")))
    _note_on_distillation(recipe, base)
    inputs = {recipe.base: hash_base(base), DATASET: hash_file(arguments.dataset / DATASET), **_adapters(recipe)}
    settings = {**recipe.model_dump(mode="json", by_alias=True), "processes": processes.count()}
    stage = Stage("train", inputs, settings, recipe.seed, command_line("training.train_lora", argv))
    resume_key = Stage("train", inputs, recipe.resume_key(processes.count()), recipe.seed)
    check_can_write(RUNS, "checkpoints are written there")
    with Run.lock(RUNS / arguments.run) as run:  # 4. the run's folder
        if not arguments.force and stage.is_up_to_date(run.folder):
            print(f"train: {run.folder} is up to date")
            return DONE
        if arguments.force:
            run.clear()
        elif message := run.archive(resume_key, recipe.steps):
            print(f"train: {message}")
        run.begin(recipe)
        with _advise_when_out_of_memory(recipe, base, bool(dataset.of("regularization"))):
            trainer = _build_trainer(run, recipe, base, dataset, arguments.dataset, resume_key)
            check_disk_space(RUNS, trainer.train_step.checkpoint_bytes() * (recipe.keep_checkpoints + 2), "checkpoints")
            last = _train(trainer)  # 5. the training
        if trainer.accelerator.is_main_process:
            _choose_and_report(run, recipe, last)  # 6. the result
            stage.write_manifest(run.folder, _outputs(run))
    return DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.estimate and (arguments.dataset is None or arguments.run is None):
        parser.error("--dataset and --run are required, except with --estimate")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train_lora",
        description="Train a LoRA on a prepared data set and write checkpoints and metrics to outputs/lora/RUN. An interrupted "
        "run resumes from its last checkpoint and ends with the same bytes as an uninterrupted one.",
    )
    parser.add_argument("--dataset", type=Path, help="the prepared data set's folder")
    parser.add_argument("--run", type=run_name, help="the run's name")
    parser.add_argument(
        "--estimate", action="store_true", help="print the memory and time that a step of RECIPE needs, and do nothing else"
    )
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe, as in optimizer.lr=2e-4"
    )
    parser.add_argument("--force", action="store_true", help="train again even if nothing has changed")
    return parser


def _read_dataset(folder: Path, recipe: Recipe) -> Dataset:
    dataset = read_dataset(folder)
    if dataset.resolution != recipe.resolution:
        raise BadInput(
            f"{folder}: prepared at {dataset.resolution} px, but the recipe trains at {recipe.resolution}. "
            "Run `python -m training.prepare_dataset` with the same recipe."
        )
    if recipe.prior.weight == 0 and (unused := dataset.of("regularization")):
        print(f"train: note: {len(unused)} regularization images are not used, because prior.weight is 0")
    return dataset


def _in_steps(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with its epochs converted to steps, if it has epochs."""
    if recipe.epochs is None:
        return recipe
    from training.steps.order import steps_per_epoch

    sizes = [entry.size for entry in dataset.of("train") for _ in range(entry.repeats)]
    in_steps = recipe.with_epochs_as_steps(
        steps_per_epoch(sizes, recipe.batch_size * recipe.gradient_accumulation_steps * processes.count())
    )
    print(f"train: {recipe.epochs} epochs of {len(sizes)} images are {in_steps.steps} steps")
    return in_steps


def _adapters(recipe: Recipe) -> dict[str, str]:
    """Return by reference the hash of the adapters that the run starts from and is trained with, if there are some."""
    references = [reference for reference in (recipe.adapter.init_from, recipe.training_adapter) if reference is not None]
    if not references:
        return {}
    from zthumb.adapters.reader import hash_of
    from zthumb.sources import kinds
    from zthumb.sources.resolve import Resolver

    return {reference: hash_of(Resolver().path(reference, kinds.ADAPTER)) for reference in references}


def _note_on_distillation(recipe: Recipe, base: Path) -> None:
    if recipe.training_adapter is None and families.get(family_of(base)).is_few_step(base):
        print("train: note: training breaks a distillation to few steps. Set training_adapter to an adapter that undoes it.")


def _has_own_prior(folder: Path | None) -> bool:
    return folder is not None and bool(read_dataset(folder).of("regularization"))


def _fit(recipe: Recipe, family: "ModelFamily", base: Path, has_own_prior: bool) -> Recipe:
    """Return the recipe within its ``memory``, if it has one."""
    if recipe.memory is None:
        return recipe
    from training.memory.changes import PlannedRun
    from training.memory.fit import fit

    return fit(PlannedRun(recipe, family, base, choose_device(recipe.device), has_own_prior), recipe.memory)


def _print_estimate(recipe: Recipe, has_own_prior: bool) -> None:
    import torch

    from training.memory.estimate import EFFICIENCY, estimate, operations_per_second

    device = choose_device(recipe.device)
    # Before a base is downloaded, the estimate can use the configuration files that come with its family.
    is_local = (Path(recipe.base) / INDEX).is_file()
    base = (None if is_local else find_configuration(recipe.base)) or find_base(recipe.base, recipe.vae)
    family = families.get(family_of(base))
    check_family(recipe, family)
    recipe = _fit(recipe, family, base, has_own_prior)
    needed = estimate(recipe, family, base, device, has_own_prior)
    speed = operations_per_second(device, torch.float32 if recipe.precision == "fp32" else torch.bfloat16) * EFFICIENCY
    for name in ("encoding", "weights", "adapter", "activations", "previews", "prior"):
        if size := getattr(needed, name):
            print(f"estimate: {name} {size / 2**30:.2f} GiB")
    print(f"estimate: about {needed.peak / 2**30:.2f} GiB at the peak on {device.type}, without the program itself")
    if needed.moved:
        print(f"estimate: swapped blocks move {needed.moved / 2**30:.1f} GiB to the device a step")
    print(f"estimate: {needed.operations / 1e12:.2f} tera-operations a step, about {needed.operations / speed:.2f} s")


def _build_trainer(run: Run, recipe: Recipe, base: Path, dataset: Dataset, folder: Path, resume_key: Stage) -> "Trainer":
    stay_offline()
    if recipe.portable:
        make_portable()
    from training.steps.assembly import assemble

    if recipe.portable:
        disable_onednn()

    return assemble(run, recipe, base, dataset, folder, resume_key)


@contextlib.contextmanager
def _advise_when_out_of_memory(recipe: Recipe, base: Path, has_own_prior: bool) -> Iterator[None]:
    """Raise ``StageFailed`` if the block runs out of memory, with the settings that would fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        from accelerate.utils.memory import should_reduce_batch_size

        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise

        from training.memory.advice import memory_advice
        from training.memory.changes import PlannedRun

        device = choose_device(recipe.device)
        family = families.get(family_of(base))
        planned = PlannedRun(recipe, family, base, device, has_own_prior)
        raise StageFailed(memory_advice(planned, total_bytes(device))) from None


def _train(trainer: "Trainer") -> int:
    """Run the remaining steps with a progress bar and a log; return the number of the last step."""
    from tqdm import tqdm

    bar = tqdm(total=trainer.recipe.steps, desc="train", unit="step", disable=not trainer.accelerator.is_main_process)

    def log(report: "Report") -> None:
        # A resumed run starts in the middle; the remaining time is estimated from the steps of this process only.
        bar.initial = bar.initial or report.step - 1
        bar.update(report.step - bar.n)
        bar.set_postfix(loss=f"{report.loss:.4f}", prior=f"{report.prior:.4f}", lr=f"{report.rate:.1e}", refresh=False)
        values = asdict(report)
        trainer.run.log(values)
        trainer.accelerator.log(values, step=report.step)

    try:
        with bar:
            last = trainer.fit(log)
        # A process that exits while another still communicates with it would block for ever.
        trainer.accelerator.wait_for_everyone()
    finally:
        trainer.train_step.release()
        trainer.accelerator.end_training()
    return last


def _choose_and_report(run: Run, recipe: Recipe, last: int) -> None:
    """Choose the checkpoint by the recipe's rule, draw the curves and print the result."""
    from training.validation import curves

    validations = run.validations()
    step = checkpoint_choice.chosen_step(validations, last, recipe.validation)
    write_json(run.folder / CHOSEN, {"step": step, "of": last, "rule": recipe.validation.choose})
    curves.draw(run.folder / METRICS, validations, run.folder / curves.NAME)
    print(f"train: {run.folder}: {recipe.steps} steps requested: {checkpoint_choice.describe_end(step, last, recipe.steps)}")
    for validation in validations:
        if validation.step == step:
            print(f"train: its loss on {validation.images} held-out images is {_change(validation)} than the base's")


def _change(validation: Validation) -> str:
    base = validation.loss.mean - validation.change.mean
    relative = validation.change.mean / base
    return f"{abs(relative):.1%} {'lower' if relative < 0 else 'higher'}"


def _outputs(run: Run) -> dict[str, str]:
    chosen = run.chosen()
    files = [run.folder / name for name in (RECIPE, METRICS, VALIDATION, CHOSEN)]
    files += sorted(path for path in chosen.folder.iterdir() if path.is_file())
    return {path.relative_to(run.folder).as_posix(): hash_file(path) for path in files if path.exists()}


if __name__ == "__main__":
    sys.exit(main())
