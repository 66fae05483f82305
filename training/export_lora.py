"""Entry point 3: export the trained adapter to ``models/lora/<run>`` in both layouts, with its model card."""

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
from foundation.manifest import Stage, command_line
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
from training.validation import checkpoint_choice
from zthumb.checkpoints.header import DIFFUSERS_FILE
from zthumb.sources.bases import find_base
from zthumb.sources.catalogue import licence_of
from zthumb.sources.local import family_of, hash_base

if TYPE_CHECKING:
    from zthumb.adapters.adapter import Adapter
    from zthumb.families.base import LoraMetadata, ModelFamily

ADAPTERS, EVALUATIONS = Path("models/lora"), Path("outputs/lora_eval")
IMAGES = "images"
_DEFAULT_RANK = 64
_AS_LORA_NOTE = "the DoRA is converted to the nearest plain LoRA, which all programs apply in the same way"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Export one run; exit code 0 done, 2 bad input."""
    arguments = _arguments(argv)
    run: Path = RUNS / arguments.run
    checkpoint, other_checkpoints = _chosen(run, arguments.every_checkpoint)  # 1. the weights
    recipe = recipes.load(str(run / RECIPE))  # 2. the recipe that they were trained with
    dataset = _check_dataset(run, arguments.dataset)  # 3. the images
    base = _check_base(run, recipe)  # 4. the base
    target = ADAPTERS / arguments.run
    inputs = _inputs(run, checkpoint, other_checkpoints, arguments.dataset, recipe)
    verdict = _verdict(arguments.run)  # 5. the verdict of an evaluation, if there was one
    conversion = {"as": arguments.kind, "rank": arguments.rank or _DEFAULT_RANK} if arguments.kind else {}
    settings = {"run": arguments.run, "ended_after": Run(run).last(), **conversion}
    if recipe.adapter.use_dora:
        print(f"export: note: {_AS_LORA_NOTE if arguments.kind else card.DORA_NOTE}")
    stage = Stage("export", inputs, settings, recipe.seed, command_line("training.export_lora", argv))
    with_verdict = replace(stage, inputs={**inputs, VERDICT: hash_value(verdict.model_dump(mode="json"))}) if verdict else stage
    current = with_verdict if verdict and _is_about(verdict, target / f"{arguments.run}.safetensors") else stage
    if not arguments.force and current.is_up_to_date(target):
        print(f"export: {target} is up to date")
        return DONE
    with atomic_directory(target) as folder:  # 6. both files, the card, the manifest
        has_verdict = _export(checkpoint, recipe, dataset, base, stage, verdict, folder)
        for other in other_checkpoints:
            _write(other, f"{arguments.run}-step-{other.step:06d}", recipe, dataset, base, stage, folder)
        (with_verdict if has_verdict else stage).write_manifest(folder, hash_files(folder))
    print(f"export: {target}: {arguments.run}.safetensors (kohya layout), {DIFFUSERS_FILE} (diffusers layout)")
    return DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.rank is not None and arguments.kind is None:
        parser.error("--rank needs --as lora; otherwise an adapter is exported at the rank it was trained with")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export_lora",
        description="Write the adapter of a finished run to models/lora/RUN: in the kohya layout (RUN.safetensors, for most "
        "programs), in the diffusers layout (pytorch_lora_weights.safetensors), with a model card and a manifest.",
    )
    parser.add_argument("--run", type=run_name, required=True, help="the run's name")
    parser.add_argument("--dataset", type=Path, required=True, help="the data set it was trained on")
    parser.add_argument(
        "--every-checkpoint", action="store_true", help="also export the run's other checkpoints, as RUN-step-N.safetensors"
    )
    parser.add_argument("--as", dest="kind", choices=("lora",), help="convert a DoRA to the nearest plain LoRA")
    parser.add_argument("--rank", type=positive, help=f"the rank for --as lora (default: {_DEFAULT_RANK})")
    parser.add_argument("--force", action="store_true", help="export again even if nothing has changed")
    return parser


def _chosen(run: Path, every: bool) -> tuple[Checkpoint, list[Checkpoint]]:
    """Return the chosen checkpoint, and the run's other valid checkpoints if ``every`` one is exported."""
    if not (run / MANIFEST).exists():
        raise BadInput(
            f"{run}: no finished training run. Run `python -m training.train_lora --run {run.name} …` until it has finished."
        )
    chosen = Run(run).chosen()
    return chosen, [checkpoint for checkpoint in Run(run).valid_checkpoints() if checkpoint.step != chosen.step] if every else []


def _check_dataset(run: Path, folder: Path) -> Dataset:
    """Return the data set in ``folder``; raises ``BadInput`` if the run was trained on another one."""
    dataset = read_dataset(folder)
    if read_json(run / MANIFEST)["inputs"][DATASET] != hash_file(folder / DATASET):
        raise BadInput(
            f"{folder}: not the data set that {run} was trained on, or changed since. Train again, or pass the right data set."
        )
    return dataset


def _check_base(run: Path, recipe: Recipe) -> Path:
    """Return the folder of the base; raises ``BadInput`` if the run was trained from another one."""
    base = find_base(recipe.base, recipe.vae)
    if read_json(run / MANIFEST)["inputs"][recipe.base] != hash_base(base):
        raise BadInput(f"{base}: not the base that {run} was trained from, or changed since. Restore the base, or train again.")
    return base


def _inputs(
    run: Path, checkpoint: Checkpoint, other_checkpoints: Sequence[Checkpoint], folder: Path, recipe: Recipe
) -> dict[str, str]:
    files = {"adapter": checkpoint.adapter_file, RECIPE: run / RECIPE, DATASET: folder / DATASET}
    files |= {f"adapter of step {other.step}": other.adapter_file for other in other_checkpoints}
    base = read_json(run / MANIFEST)["inputs"][recipe.base]
    return {recipe.base: base, **{name: hash_file(path) for name, path in files.items()}}


def _verdict(run: str) -> Verdict | None:
    """Return the last verdict on an adapter of this run, which may be about an earlier export."""
    path = EVALUATIONS / run / VERDICT
    return read_verdict(path) if path.is_file() else None


def _is_about(verdict: Verdict, adapter: Path) -> bool:
    from zthumb.adapters.reader import hash_of

    return adapter.is_file() and verdict.adapter_sha256 == hash_of(adapter)


def _export(
    checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, base: Path, stage: Stage, verdict: Verdict | None, folder: Path
) -> bool:
    """Write everything except the manifest; return whether ``verdict`` is about exactly this adapter and is in its card."""
    from zthumb import families
    from zthumb.adapters.layouts import save_diffusers
    from zthumb.adapters.textual_inversion import ENDING

    name = str(stage.settings["run"])
    is_lora = "as" in stage.settings
    adapter = _write(checkpoint, name, recipe, dataset, base, stage, folder)
    prefixes = families.get(family_of(base)).diffusers_prefixes
    save_diffusers(adapter, folder / DIFFUSERS_FILE, prefixes=prefixes)
    files = [f"{name}.safetensors", DIFFUSERS_FILE, *(f"{name}{ENDING}" for _ in adapter.embeddings)]
    hashes = {
        **{f"`{file}`": hash_file(folder / file) for file in files},
        "the base": stage.inputs[recipe.base],
        "the data set": stage.inputs[DATASET],
    }
    previews = _copy_previews(checkpoint, recipe, dataset, folder)
    own_verdict = verdict if verdict is not None and _is_about(verdict, folder / f"{name}.safetensors") else None
    rank = _max_rank(adapter) if is_lora else None
    stop_reason, licence = _stop_reason(checkpoint, recipe, stage), licence_of(recipe.base)
    text = card.model_card(
        *(recipe, dataset, name, _base_metadata(recipe, base), stop_reason, hashes, previews, licence),
        embedding_keys=families.get(family_of(base)).embedding_keys,
        verdict=own_verdict,
        as_lora=rank,
    )
    if own_verdict:
        write_verdict(folder / VERDICT, own_verdict)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return own_verdict is not None


def _prediction(recipe: Recipe, base: Path) -> str:
    """What the adapted denoiser predicts: what the recipe says, or else what the base does."""
    from zthumb import families

    objective = recipe.objective.prediction
    return families.get(family_of(base)).prediction(base) if objective == "base" else objective


def _base_metadata(recipe: Recipe, base: Path) -> LoraMetadata:
    """What names the base's family in headers and cards."""
    from zthumb import families

    family = families.get(family_of(base))
    return family.metadata(family.configuration(base, family.denoiser_component), _prediction(recipe, base))


def _stop_reason(checkpoint: Checkpoint, recipe: Recipe, stage: Stage) -> str:
    return checkpoint_choice.describe_end(checkpoint.step, int(str(stage.settings["ended_after"])), recipe.steps)


def _write(
    checkpoint: Checkpoint, name: str, recipe: Recipe, dataset: Dataset, base: Path, stage: Stage, folder: Path
) -> Adapter:
    """Write one checkpoint in the kohya layout as ``name``, with its learned tokens if it has any."""
    from zthumb import families
    from zthumb.adapters.layouts import save_kohya
    from zthumb.adapters.textual_inversion import ENDING, save

    family = families.get(family_of(base))
    adapter = _read_adapter(checkpoint, recipe, dataset, family)
    denoiser_config = family.configuration(base, family.denoiser_component)
    stop_reason = _stop_reason(checkpoint, recipe, stage)
    metadata = card.header_metadata(
        *(recipe, dataset, name, _base_metadata(recipe, base), stage.inputs[recipe.base]),
        *(checkpoint.step, stop_reason, _prediction(recipe, base)),
    )
    if stage.settings.get("as") == "lora":
        adapter = _as_lora(adapter, base, family, int(str(stage.settings["rank"])))
        rank = str(_max_rank(adapter))
        metadata |= {
            "ss_network_module": "networks.lora",
            "ss_network_dim": rank,
            "ss_network_alpha": rank,
            "ss_network_args": "{}",
        }
    save_kohya(adapter, folder / f"{name}.safetensors", family, denoiser_config, metadata)
    for embedding in adapter.embeddings:
        save(embedding, folder / f"{name}{ENDING}", family)
    return adapter


def _max_rank(adapter: Adapter) -> int:
    return max(layer.rank for layer in adapter.layers.values())


def _as_lora(adapter: Adapter, base: Path, family: ModelFamily, rank: int) -> Adapter:
    """Return the nearest plain LoRA of ``rank``, and print how much of the change it keeps."""
    from zthumb.adapters import module_shapes
    from zthumb.adapters.resize import as_lora

    converted = as_lora(adapter, module_shapes.of_folder(base.name, base, family), rank)
    worst = min(converted.kept, key=lambda path: converted.kept[path])
    print(f"export: as a LoRA of rank {rank}: at least {converted.kept[worst]:.1%} of each module's change is kept ({worst})")
    return converted.adapter


def _read_adapter(checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, family: ModelFamily) -> Adapter:
    """Return the adapter as it was trained, with the learned tokens of the trigger word if there are any."""
    from training.model.learned_tokens import NAME
    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.textual_inversion import LearnedEmbedding

    weights = checkpoint.adapter()
    vectors = {name: weights[f"{name}.{NAME}"] for name in family.adapted_components if f"{name}.{NAME}" in weights}
    return Adapter.from_peft(weights, recipe.adapter.scale, (LearnedEmbedding(dataset.trigger, vectors),) if vectors else ())


def _copy_previews(checkpoint: Checkpoint, recipe: Recipe, dataset: Dataset, folder: Path) -> list[card.PreviewPair]:
    """Copy the run's previews at the checkpoint, and those of the base, next to the card."""
    previews = checkpoint.folder.parent.parent / PREVIEWS
    pairs = []
    for number, prompt in enumerate(recipe.previews.prompts, start=1):
        paths = [previews / f"step-{step:06d}" / f"{number:02d}.png" for step in (0, checkpoint.step)]
        if all(path.exists() for path in paths):
            files = [f"{IMAGES}/{number:02d}-{name}.png" for name in ("base", "adapter")]
            (folder / IMAGES).mkdir(exist_ok=True)
            for path, file in zip(paths, files, strict=True):
                shutil.copyfile(path, folder / file)
            pairs.append(card.PreviewPair(prompt.replace("{trigger}", dataset.trigger), *files))
    return pairs


if __name__ == "__main__":
    sys.exit(main())
