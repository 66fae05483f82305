"""Everything a run needs, loaded and put together."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs, LoggerType

from foundation.compilation import check_compiler
from foundation.errors import BadInput
from foundation.manifest import Stage
from foundation.plugins import suggestion
from training.data.dataset import Dataset
from training.encoding import prior
from training.encoding.cache import Cache
from training.encoding.examples import Encoders
from training.model.adapted_model import AdaptedModel, load
from training.recipe import Recipe
from training.steps.run import Run
from training.steps.train_step import TrainStep
from training.steps.trainer import Trainer
from training.validation.previews import Previews
from training.validation.validator import Validator
from zthumb import families
from zthumb.families.base import Family
from zthumb.sources.local import family_of

CACHE = Path("outputs/cache")
_PATIENCE = timedelta(hours=12)
CACHE_LIMIT = 20 * 2**30
"""Bytes of encoded images, captions and prior images that are kept for later runs."""


def assemble(run: Run, recipe: Recipe, base: Path, dataset: Dataset, folder: Path, resume_key: Stage) -> Trainer:
    """Load the base, encode everything that is looked at more than once, and attach the adapter.

    ``resume key`` is what is learned, from what: a run goes on from the checkpoints of the same one.
    """
    accelerator = _accelerator(run, recipe)
    if recipe.deterministic and accelerator.device.type == "cuda":
        _make_deterministic()
    if recipe.compile:
        check_compiler(accelerator.device.type)
    family = families.get(family_of(base))
    pipeline = load(recipe, family, base, accelerator.device)
    cache = Cache(CACHE, CACHE_LIMIT)
    words = {dataset.trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {}
    encoders = Encoders(family, pipeline, base, cache, accelerator.device, words)
    _check_words(words, family, pipeline, dataset)
    if accelerator.is_main_process:
        _tell_of_cut_captions(words, family, pipeline, dataset)
    with accelerator.main_process_first():
        trained = encoders.encode(dataset.of("train"), folder)
        held_out = encoders.encode(dataset.of("holdout"), folder) if dataset.of("holdout") else None
        kept = prior.gather(recipe, dataset, folder, resume_key.inputs[recipe.base], encoders)
    # Not before the others have read what they need.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        cache.trim()
    adapted = AdaptedModel.of(pipeline, family, recipe, accelerator.device, dataset.trigger)
    return Trainer(
        recipe=recipe,
        run=run,
        resume_key=resume_key,
        accelerator=accelerator,
        train_step=TrainStep(recipe, adapted, accelerator, trained, kept),
        validator=Validator(recipe, adapted, trained, held_out) if held_out else None,
        previews=Previews(recipe, adapted, pipeline, dataset.trigger),
    )


def _check_words(words: Mapping[str, int], family: Family, pipeline: Any, dataset: Dataset) -> None:
    captions = [entry.caption for entry in dataset.of("train")]
    if words and bool((family.tokens(pipeline, captions, words) == family.tokens(pipeline, captions)).all()):
        raise BadInput(
            f"adapter.tokens: the trigger word {dataset.trigger!r} is in no caption, so that nothing could be learned of it. "
            "Write it into the captions and prepare the data set again, or set adapter.tokens=0."
        )


def _tell_of_cut_captions(words: Mapping[str, int], family: Family, pipeline: Any, dataset: Dataset) -> None:
    """A word of many tokens may push the end of a caption out that a data set's preparation found room for."""
    for entry in dataset.of("train") if words else ():
        before, now = (max(map(len, family.read(pipeline, entry.caption, known))) for known in ({}, words))
        if before <= family.room < now:
            lost = now - family.room
            print(f"train: note: the word's tokens make the caption of {entry.source} too long: its last {lost} are lost")


def _make_deterministic() -> None:
    # cuBLAS reads it when it is first used.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def _accelerator(run: Run, recipe: Recipe) -> Accelerator:
    known = {str(name) for name in LoggerType} - {"all"}
    for name in recipe.trackers:
        if name not in known:
            raise BadInput(f"trackers: {name!r} is not one that accelerate knows. {suggestion(name, sorted(known))}")
        if name not in map(str, get_available_trackers()):
            raise BadInput(f"trackers: the package of {name} is not there: .venv/bin/pip install {name}")
    # Base.predict casts by itself, and Loop scales.
    accelerator = Accelerator(
        mixed_precision="no",
        # One process encodes, generates and validates for all; the others wait for it.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        cpu=not torch.cuda.is_available(),
        log_with=list(recipe.trackers) or None,
        project_dir=run.folder,
    )
    if recipe.trackers:
        accelerator.init_trackers("tracked", config={"run": run.folder.name, "recipe": recipe.model_dump_json()})
    return accelerator
