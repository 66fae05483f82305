"""What to change in a recipe that does not fit into memory, by estimate."""

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from training.memory.estimate import estimate
from training.recipe import Recipe
from zthumb.families.base import Family

USABLE = 0.9
"""Share of the memory that a run can count on; the rest goes to the program itself and to fragments."""

_TILE = 512


def available(device: torch.device) -> int:
    """Bytes that the device has, or that this process may take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return physical if limit == resource.RLIM_INFINITY else min(physical, limit)


def advice(recipe: Recipe, family: Family, base: Path, device: torch.device, room: int, has_own_prior: bool = False) -> str:
    """Which changes would fit into ``room`` bytes, those first that change nothing about what is learned: a run goes on.

    ``has_own_prior``: the data set brings images for prior preservation itself.
    """
    needed = estimate(recipe, family, base, device, has_own_prior).peak
    told = f"out of memory: {room / 2**30:.1f} GiB are there, about {needed / 2**30:.1f} are needed by estimate"
    smallest, settings = needed, dict[str, object]()
    for change in _changes(recipe):
        tried = {**settings, **change}
        smaller = _with(recipe, tried)
        peak = estimate(smaller, family, base, device, has_own_prior).peak
        if peak >= smallest:
            continue
        smallest, settings = peak, tried
        if smallest < USABLE * room:
            changes = " ".join(f"--set {_told(key, value)}" for key, value in settings.items())
            keeps = smaller.resume_key(1) == recipe.resume_key(1)
            after = (
                "and the run goes on from its last checkpoint" if keeps else "and the run starts over, for it learns differently"
            )
            return f"{told}. With {changes} about {smallest / 2**30:.1f} would do, {after}."
    return f"{told}, and still {smallest / 2**30:.1f} with every setting that saves memory. Lower the resolution, or the rank."


def _changes(recipe: Recipe) -> Iterator[dict[str, object]]:
    """What may be set to need less, by the keys of the recipe, in the order in which it is tried."""
    if not recipe.gradient_checkpointing:
        yield {"gradient_checkpointing": True}
    batch, accumulate = recipe.batch_size, recipe.gradient_accumulation_steps
    while batch > 1:
        # The same images in each step, fewer at a time.
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
    if recipe.precision == "fp32" and torch.cuda.is_available():
        yield {"precision": "bf16"}
    if recipe.optimizer.name == "adamw":
        yield {"optimizer.name": "adafactor"}
    if recipe.quantize != "nf4" and recipe.adapter.initialization != "pissa" and not recipe.shard:
        yield {"quantize": "nf4"}
    if recipe.adapter.text_encoders:
        yield {"adapter.text_encoders": False}


def _with(recipe: Recipe, settings: Mapping[str, object]) -> Recipe:
    values = recipe.model_dump(mode="json")
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    return Recipe.model_validate(values)


def _told(key: str, value: object) -> str:
    return f"{key}={str(value).lower()}"
