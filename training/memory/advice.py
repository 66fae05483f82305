"""Suggest changes to a recipe that does not fit into memory, by the estimate."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from training.memory.estimate import estimate
from training.recipe import Recipe
from zthumb.families.base import ModelFamily

USABLE_FRACTION = 0.9
"""The part of the memory that a run can rely on; the rest goes to the program itself and to fragmentation."""

_TILE = 512


def memory_advice(
    recipe: Recipe, family: ModelFamily, base: Path, device: torch.device, available_bytes: int, has_own_prior: bool = False
) -> str:
    """Return which changes would fit into ``available_bytes``; those that let the run resume are tried first.

    ``has_own_prior``: the data set has regularization images of its own.
    """
    needed = estimate(recipe, family, base, device, has_own_prior).peak
    message = f"out of memory: {available_bytes / 2**30:.1f} GiB are available, an estimated {needed / 2**30:.1f} are needed"
    smallest, settings = needed, dict[str, object]()
    for change in _changes(recipe, device):
        candidate = {**settings, **change}
        changed = _with_settings(recipe, candidate)
        peak = estimate(changed, family, base, device, has_own_prior).peak
        if peak >= smallest:
            continue
        smallest, settings = peak, candidate
        if smallest < USABLE_FRACTION * available_bytes:
            changes = " ".join(f"--set {_as_option(key, value)}" for key, value in settings.items())
            can_resume = changed.resume_key(1) == recipe.resume_key(1)
            effect = (
                "and the run resumes from its last checkpoint"
                if can_resume
                else "and the run starts over, because these settings change the result"
            )
            return f"{message}. With {changes} about {smallest / 2**30:.1f} are needed, {effect}."
    return f"{message}, and still {smallest / 2**30:.1f} with every setting that saves memory. Lower the resolution, or the rank."


def _changes(recipe: Recipe, device: torch.device) -> Iterator[dict[str, object]]:
    """Yield recipe values that save memory, in the order in which they are tried."""
    if not recipe.gradient_checkpointing:
        yield {"gradient_checkpointing": True}
    batch, accumulate = recipe.batch_size, recipe.gradient_accumulation_steps
    while batch > 1:
        # The same number of images per step, in smaller batches.
        batch, accumulate = (batch // 2, accumulate * 2) if batch % 2 == 0 else (1, accumulate * batch)
        prior = max(1, recipe.prior.batch_size * batch // recipe.batch_size)
        yield {
            "batch_size": batch,
            "gradient_accumulation_steps": accumulate,
            **({"prior.batch_size": prior} if recipe.prior.weight else {}),
        }
    if recipe.previews.prompts:
        if recipe.resolution > _TILE and recipe.previews.tile is None:
            yield {"previews.tile": _TILE}
        yield {"previews.prompts": []}
    if recipe.precision == "fp32" and device.type != "cpu":
        yield {"precision": "bf16"}
    if recipe.optimizer.name == "adamw":
        yield {"optimizer.name": "adafactor"}
    if recipe.quantize != "nf4" and recipe.adapter.initialization != "pissa" and not recipe.shard:
        yield {"quantize": "nf4"}
    if recipe.adapter.text_encoders:
        yield {"adapter.text_encoders": False}


def _with_settings(recipe: Recipe, settings: Mapping[str, object]) -> Recipe:
    values = recipe.model_dump(mode="json")
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    return Recipe.model_validate(values)


def _as_option(key: str, value: object) -> str:
    return f"{key}={str(value).lower()}"
