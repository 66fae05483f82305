"""Entry point 3: the trained adapter → ``models/lora/<run>`` in both layouts, with its card."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.arguments import positive, run_name
from foundation.errors import DONE, BadInput, command
from foundation.files import atomic_directory, read_json
from foundation.hashing import hash_file, hash_files, hash_value
from foundation.manifest import NAME as MANIFEST
from foundation.manifest import Stage, given
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Verdict, read_verdict, write_verdict
from training import card
from training import recipe as recipes
from training.data.dataset import NAME as DATASET
from training.data.dataset import Dataset, read_dataset
from training.recipe import Recipe
from training.steps.checkpoints import Checkpoint
from training.steps.run import PREVIEWS, RECIPE, Run
from training.train_lora import RUNS
from training.validation import selection
from zthumb.adapters.header import DIFFUSERS_FILE
from zthumb.sources.bases import find_base
from zthumb.sources.catalogue import licence_of
from zthumb.sources.local import family_of, hash_base

if TYPE_CHECKING:
    from zthumb.adapters.adapter import Adapter
    from zthumb.families.base import Family

ADAPTERS, EVALUATIONS = Path("models/lora"), Path("outputs/lora_eval")
IMAGES = "images"
_RANK = 64
_AS_LORA = "the DoRA is written as the nearest plain LoRA, which every program reads alike"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Export one run; exit code 0 done, 2 bad input."""
    arguments = _arguments(argv)
    run: Path = RUNS / arguments.run
    checkpoint, others = _chosen(run, arguments.every_checkpoint)  # 1. which weights
    recipe = recipes.load(str(run / RECIPE))  # 2. how they were made
    dataset = _trained_on(run, arguments.dataset)  # 3. from which images
    base = _trained_from(run, recipe)  # 4. onto which model
    target = ADAPTERS / arguments.run
    inputs = _inputs(run, checkpoint, others, arguments.dataset, recipe)
    judged = _verdict(arguments.run)  # 5. what came of judging it, if it was
    told_as = {"as": arguments.kind, "rank": arguments.rank or _RANK} if arguments.kind else {}
    settings = {"run": arguments.run, "ended_after": Run(run).last(), **told_as}
    if recipe.adapter.use_dora:
        print(f"export: note: {_AS_LORA if arguments.kind else card.DORA}")
    plain = Stage("export", inputs, settings, recipe.seed, given("training.export_lora", argv))
    told = replace(plain, inputs={**inputs, VERDICT: hash_value(judged.model_dump(mode="json"))}) if judged else plain
    current = told if judged and _is_on(judged, target / f"{arguments.run}.safetensors") else plain
    if not arguments.force and current.is_up_to_date(target):
        print(f"export: {target} is up to date")
        return DONE
    with atomic_directory(target) as folder:  # 6. both files, the card, the manifest
        is_this = _export(checkpoint, recipe, dataset, base, plain, judged, folder)
        for each in others:
            _write(each, f"{arguments.run}-step-{each.step:06d}", recipe, dataset, base, plain, folder)
        (told if is_this else plain).write_manifest(folder, hash_files(folder))
    print(f"export: {target}: {arguments.run}.safetensors (kohya layout), {DIFFUSERS_FILE} (diffusers layout)")
    return DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.rank is not None and arguments.kind is None:
        parser.error("--rank is of --as lora; an adapter is exported at the rank it was trained with")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export_lora",
        description="Write the adapter of a finished run to models/lora/RUN: in the kohya layout (RUN.safetensors, for most "
        "programs), in the diffusers layout (pytorch_lora_weights.safetensors), a card and a manifest.",
    )
    parser.add_argument("--run", type=run_name, required=True, help="the run's name")
    parser.add_argument("--dataset", type=Path, required=True, help="the data set it was trained on")
    parser.add_argument(
        "--every-checkpoint", action="store_true", help="beside them the run's other checkpoints, as RUN-step-N.safetensors"
    )
    parser.add_argument("--as", dest="kind", choices=("lora",), help="write a DoRA as the nearest plain LoRA, for every program")
    parser.add_argument("--rank", type=positive, help=f"of --as lora (default: {_RANK})")
    parser.add_argument("--force", action="store_true", help="export again even if nothing has changed")
    return parser


def _chosen(run: Path, every: bool) -> tuple[Checkpoint, list[Checkpoint]]:
    """The chosen checkpoint, and the others there are if ``every`` one is asked for."""
    if not (run / MANIFEST).exists():
        raise BadInput(
            f"{run}: no finished training run is there. Run `python -m training.train_lora --run {run.name} …` to its end first."
        )
    chosen = Run(run).chosen()
    return chosen, [each for each in Run(run).sound() if each.step != chosen.step] if every else []


def _trained_on(run: Path, folder: Path) -> Dataset:
    dataset = read_dataset(folder)
    if read_json(run / MANIFEST)["inputs"][DATASET] != hash_file(folder / DATASET):
        raise BadInput(
            f"{folder}: not the data set that {run} was trained on, or changed since. Train again, or name the right one."
        )
    return dataset


def _trained_from(run: Path, recipe: Recipe) -> Path:
    base = find_base(recipe.base, recipe.vae)
    if read_json(run / MANIFEST)["inputs"][recipe.base] != hash_base(base):
        raise BadInput(f"{base}: not the base that {run} was trained from, or changed since. Put that one back, or train again.")
    return base


def _inputs(run: Path, checkpoint: Checkpoint, others: Sequence[Checkpoint], folder: Path, recipe: Recipe) -> dict[str, str]:
    files = {"adapter": checkpoint.adapter_file, RECIPE: run / RECIPE, DATASET: folder / DATASET}
    files |= {f"adapter of step {each.step}": each.adapter_file for each in others}
    base = read_json(run / MANIFEST)["inputs"][recipe.base]
    return {recipe.base: base, **{name: hash_file(path) for name, path in files.items()}}


def _verdict(run: str) -> Verdict | None:
    """What an evaluation said of an adapter of this run, this one or one before it."""
    path = EVALUATIONS / run / VERDICT
    return read_verdict(path) if path.is_file() else None


def _is_on(judged: Verdict, adapter: Path) -> bool:
    from zthumb.adapters.reader import hash_of

    return adapter.is_file() and judged.adapter_sha256 == hash_of(adapter)


def _export(
    checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, base: Path, stage: Stage, judged: Verdict | None, folder: Path
) -> bool:
    """Write everything but the manifest; whether what was ``judged`` is this very adapter, so that its card tells of it."""
    from zthumb.adapters.layouts import save_diffusers
    from zthumb.adapters.textual_inversion import ENDING

    name = str(stage.settings["run"])
    is_lora = "as" in stage.settings
    adapter = _write(checkpoint, name, recipe, dataset, base, stage, folder)
    save_diffusers(adapter, folder / DIFFUSERS_FILE)
    files = [f"{name}.safetensors", DIFFUSERS_FILE, *(f"{name}{ENDING}" for _ in adapter.words)]
    hashes = {
        **{f"`{file}`": hash_file(folder / file) for file in files},
        "the base": stage.inputs[recipe.base],
        "the data set": stage.inputs[DATASET],
    }
    shown = _images(checkpoint, recipe, dataset, folder)
    is_this = judged is not None and _is_on(judged, folder / f"{name}.safetensors")
    verdict = judged if is_this else None
    rank = _rank(adapter) if is_lora else None
    words = card.text(
        recipe, dataset, name, _ended(checkpoint, recipe, stage), hashes, shown, licence_of(recipe.base), verdict, rank
    )
    if verdict:
        write_verdict(folder / VERDICT, verdict)
    (folder / "README.md").write_text(words, encoding="utf-8")
    return is_this


def _ended(checkpoint: Checkpoint, recipe: Recipe, stage: Stage) -> str:
    return selection.told(checkpoint.step, int(str(stage.settings["ended_after"])), recipe.steps)


def _write(
    checkpoint: Checkpoint, name: str, recipe: Recipe, dataset: Dataset, base: Path, stage: Stage, folder: Path
) -> Adapter:
    """Write one checkpoint in the kohya layout as ``name``, with its word if it learned one."""
    from zthumb import families
    from zthumb.adapters.layouts import save_kohya
    from zthumb.adapters.textual_inversion import ENDING, save

    family = families.get(family_of(base))
    adapter = _adapter(checkpoint, recipe, dataset, family)
    layers_per_block = family.configuration(base, family.denoiser_component)["layers_per_block"]
    named = recipe.objective.prediction
    prediction = read_json(base / "scheduler" / "scheduler_config.json")["prediction_type"] if named == "base" else named
    ended = _ended(checkpoint, recipe, stage)
    metadata = card.header(recipe, dataset, name, stage.inputs[recipe.base], checkpoint.step, ended, prediction)
    if stage.settings.get("as") == "lora":
        adapter = _as_lora(adapter, base, family, int(str(stage.settings["rank"])))
        rank = str(_rank(adapter))
        metadata |= {
            "ss_network_module": "networks.lora",
            "ss_network_dim": rank,
            "ss_network_alpha": rank,
            "ss_network_args": "{}",
        }
    save_kohya(adapter, folder / f"{name}.safetensors", layers_per_block, metadata)
    for word in adapter.words:
        save(word, folder / f"{name}{ENDING}")
    return adapter


def _rank(adapter: Adapter) -> int:
    return max(layer.rank for layer in adapter.layers.values())


def _as_lora(adapter: Adapter, base: Path, family: Family, rank: int) -> Adapter:
    """The nearest plain LoRA of ``rank``; how much of the change it keeps is told."""
    from zthumb.adapters import module_shapes
    from zthumb.adapters.resize import as_lora

    made = as_lora(adapter, module_shapes.of_folder(base.name, base, family), rank)
    worst = min(made.kept, key=lambda path: made.kept[path])
    print(f"export: as a LoRA of rank {rank}: at least {made.kept[worst]:.1%} of each module's change is kept ({worst})")
    return made.adapter


def _adapter(checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, family: Family) -> Adapter:
    """The adapter as it was trained, with the trigger word if that was learned."""
    from training.model.learned_tokens import NAME
    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.textual_inversion import LearnedEmbedding

    trained = checkpoint.adapter()
    vectors = {part: trained[f"{part}.{NAME}"] for part in family.adapted_components if f"{part}.{NAME}" in trained}
    return Adapter.of_peft(trained, recipe.adapter.scale, (LearnedEmbedding(dataset.trigger, vectors),) if vectors else ())


def _images(checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, folder: Path) -> list[card.Shown]:
    """The run's previews at the checkpoint, and the base's own, copied beside the card."""
    previews = checkpoint.folder.parent.parent / PREVIEWS
    shown = []
    for number, prompt in enumerate(recipe.previews.prompts, start=1):
        pair = [previews / f"step-{step:06d}" / f"{number:02d}.png" for step in (0, checkpoint.step)]
        if all(path.exists() for path in pair):
            files = [f"{IMAGES}/{number:02d}-{name}.png" for name in ("base", "adapter")]
            (folder / IMAGES).mkdir(exist_ok=True)
            for path, file in zip(pair, files, strict=True):
                shutil.copyfile(path, folder / file)
            shown.append(card.Shown(prompt.replace("{trigger}", dataset.trigger), *files))
    return shown


if __name__ == "__main__":
    sys.exit(main())
