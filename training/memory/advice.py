"""What to change in a recipe that does not fit into memory, by estimate."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from training.memory.estimate import estimate
from training.recipe import Recipe
from zthumb.families.base import Family

USABLE = 0.9
"""Share of the memory that a run can count on; the rest goes to the program itself and to fragments."""


def available(device: torch.device) -> int:
    """Bytes that the device has, or that this process may take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return physical if limit == resource.RLIM_INFINITY else min(physical, limit)


def advice(recipe: Recipe, family: Family, base: Path, device: torch.device, has_own_prior: bool = False) -> str:
    """Which changes would fit, those that change nothing about what is learned first: with these a run goes on.

    ``has_own_prior``: the data set brings pictures for prior preservation itself.
    """
    room = available(device)
    needed = estimate(recipe, family, base, device, has_own_prior).peak
    told = f"out of memory: {room / 2**30:.1f} GiB are there, about {needed / 2**30:.1f} are needed by estimate"
    smallest = needed
    for settings, smaller in _smaller(recipe):
        smallest = estimate(smaller, family, base, device, has_own_prior).peak
        if smallest < USABLE * room:
            changes = " ".join(f"--set {setting}" for setting in settings)
            keeps = smaller.lessons(1) == recipe.lessons(1)
            after = (
                "and the run goes on from its last checkpoint" if keeps else "in a run of another name, for it learns differently"
            )
            return f"{told}. With {changes} about {smallest / 2**30:.1f} would do, {after}."
    return f"{told}, and still {smallest / 2**30:.1f} with every setting that saves memory. Lower the resolution, or the rank."


def _smaller(recipe: Recipe) -> Iterator[tuple[list[str], Recipe]]:
    """Recipes that need less and less, each with what is set besides."""
    settings: dict[str, object] = {}

    def with_(**changes: object) -> tuple[list[str], Recipe]:
        settings.update(changes)
        values = recipe.model_dump(mode="json")
        for key, value in settings.items():
            section, _, name = key.rpartition("__")
            (values[section] if section else values)[name] = value
        told = [f"{key.replace('__', '.')}={str(value).lower()}" for key, value in settings.items()]
        return told, Recipe.model_validate(values)

    if not recipe.gradient_checkpointing:
        yield with_(gradient_checkpointing=True)
    batch, accumulate = recipe.batch, recipe.accumulate
    while batch > 1:
        # The same pictures in each step, fewer at a time.
        batch, accumulate = (batch // 2, accumulate * 2) if batch % 2 == 0 else (1, accumulate * batch)
        prior = max(1, recipe.prior.batch * batch // recipe.batch)
        yield with_(batch=batch, accumulate=accumulate, **({"prior__batch": prior} if recipe.prior.weight else {}))
    if recipe.precision == "fp32" and torch.cuda.is_available():
        yield with_(precision="bf16")
    if recipe.optimizer.name == "adamw":
        yield with_(optimizer__name="adafactor")
    if recipe.quantize == "none" and recipe.adapter.initialization != "pissa" and not recipe.shard:
        yield with_(quantize="nf4")
    if recipe.adapter.text_encoders:
        yield with_(adapter__text_encoders=False)
