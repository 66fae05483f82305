"""A recipe within its own ``memory``, by changes that alter no result but for rounding."""

from dataclasses import replace

import torch

from foundation.device import total_bytes
from foundation.errors import BadInput
from training.memory.changes import USABLE_FRACTION, PlannedRun, save_memory
from training.recipe import Recipe
from zthumb.memory import budget


def fit(run: PlannedRun, memory: str) -> Recipe:
    """Return the recipe of ``run`` within its ``memory``, and print what was changed for it.

    Raises ``BadInput`` if nothing that changes no result is enough; it names what else would be.
    """
    available = available_bytes(memory, run.device)
    key, prompts = run.recipe.resume_key(1), run.recipe.previews.prompts
    fitted = save_memory(run, available, lambda other: other.resume_key(1) == key and other.previews.prompts == prompts)
    needed = budget.shown(fitted.needed.peak)
    if fitted.needed.peak > available:
        least = save_memory(replace(run, recipe=fitted.recipe), available)
        raise BadInput(
            f"memory: {budget.shown(available)} are too little for this recipe. With everything that changes no result about "
            f"{needed} are needed, with {least.options or 'anything else'} about {budget.shown(least.needed.peak)}."
        )
    print(f"train: about {needed} of {budget.shown(available)}: {fitted.options or 'the recipe as it is'}")
    return fitted.recipe


def available_bytes(memory: str, device: torch.device) -> int:
    """Return the bytes of a recipe's ``memory``; auto is what ``device`` has, less what a run cannot rely on."""
    return int(USABLE_FRACTION * total_bytes(device)) if memory == budget.AUTO else budget.parse(memory, device)
