"""Everything a run needs, loaded and assembled."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs, LoggerType

from foundation.device import check_compiler, choose_device
from foundation.errors import BadInput
from foundation.manifest import Stage
from foundation.plugins import suggestion
from training.data.dataset import Dataset
from training.encoding import prior
from training.encoding.cache import Cache
from training.encoding.encoded_examples import Encoders
from training.model.adapted_model import AdaptedModel, load, place_denoiser
from training.recipe import Recipe
from training.steps.run import Run
from training.steps.train_step import TrainStep
from training.steps.trainer import Trainer
from training.validation.previews import Previews
from training.validation.validator import Validator
from zthumb import families
from zthumb.families.base import ModelFamily
from zthumb.families.shared.clip_text import ClipTextFamily
from zthumb.sources.local import family_of

CACHE = Path("outputs/cache")
_TIMEOUT = timedelta(hours=12)
CACHE_LIMIT = 20 * 2**30
"""Bytes of encoded images, captions and prior images that are cached for later runs."""


def assemble(run: Run, recipe: Recipe, base: Path, dataset: Dataset, folder: Path, resume_key: Stage) -> Trainer:
    """Load the base, encode everything that is used more than once, and attach the adapter.

    Checkpoints are resumed only if ``resume_key`` matches.
    """
    accelerator = _accelerator(run, recipe)
    if recipe.deterministic and accelerator.device.type == "cuda":
        _make_deterministic()
    if recipe.blocks_to_swap and accelerator.num_processes > 1:
        raise BadInput("blocks_to_swap: several processes need models that stay: start one, or use shard.")
    if recipe.compile:
        check_compiler(accelerator.device.type)
    family = families.get(family_of(base))
    pipeline = load(recipe, family, base)
    cache = Cache(CACHE, CACHE_LIMIT)
    learned_tokens = {dataset.trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {}
    device = accelerator.device
    text_device = torch.device("cpu") if recipe.text_encoders_on_cpu else device
    encoders = Encoders(
        family, pipeline, base, cache, device, learned_tokens, recipe.objective.guidance_scale, text_device=text_device
    )
    if learned_tokens:
        _check_learned_tokens(learned_tokens, family, pipeline, dataset, accelerator.is_main_process)
    with accelerator.main_process_first():
        trained = encoders.encode(dataset.of("train"), folder)
        held_out = encoders.encode(dataset.of("holdout"), folder) if dataset.of("holdout") else None
        preserved = prior.encode_own(recipe, dataset, folder, encoders)
        # Not before everything is encoded: a text encoder may need the memory that the denoiser takes.
        swap = place_denoiser(pipeline, recipe, family, device)
        prior_examples = prior.gather(recipe, preserved, resume_key.inputs[recipe.base], encoders)
    # Not before the other processes have read what they need.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        cache.trim()
    adapted = AdaptedModel.of(pipeline, family, recipe, device, dataset.trigger, swap)
    return Trainer(
        recipe=recipe,
        run=run,
        resume_key=resume_key,
        accelerator=accelerator,
        train_step=TrainStep(recipe, adapted, accelerator, trained, prior_examples),
        validator=Validator(recipe, adapted, trained, held_out) if held_out else None,
        previews=Previews(recipe, adapted, pipeline, dataset.trigger),
    )


def _check_learned_tokens(
    learned_tokens: Mapping[str, int], family: ModelFamily, pipeline: Any, dataset: Dataset, is_main: bool
) -> None:
    """Raise ``BadInput`` where learned tokens are impossible or in no caption; print which captions they make too long."""
    assert isinstance(family, ClipTextFamily)
    captions = [entry.caption for entry in dataset.of("train")]
    if bool((family.token_ids(pipeline, captions, learned_tokens) == family.token_ids(pipeline, captions)).all()):
        raise BadInput(
            f"adapter.tokens: the trigger word {dataset.trigger!r} is in no caption, so that nothing could be learned of it. "
            "Write it into the captions and prepare the data set again, or set adapter.tokens=0."
        )
    most = family.max_prompt_tokens
    for entry in dataset.of("train") if is_main else ():
        before, now = (max(map(len, family.tokenize(pipeline, entry.caption, tokens))) for tokens in ({}, learned_tokens))
        if before <= most < now:
            lost = now - most
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
    device = choose_device(recipe.device)
    if device.index is not None:
        # accelerate takes the first of a kind unless it is told which.
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    # AdaptedModel.predict uses autocast itself, and TrainStep scales gradients.
    accelerator = Accelerator(
        mixed_precision="no",
        # One process encodes, generates and validates for all; the others wait for it.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)],
        cpu=device.type == "cpu",
        log_with=list(recipe.trackers) or None,
        project_dir=run.folder,
    )
    if recipe.trackers:
        accelerator.init_trackers("tracked", config={"run": run.folder.name, "recipe": recipe.model_dump_json()})
    return accelerator
