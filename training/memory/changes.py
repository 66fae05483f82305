"""Changes to a recipe that save memory, and the first of them with which a run fits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation import processes
from training.memory.estimate import Estimate, estimate
from training.recipe import Recipe
from zthumb.families.base import ModelFamily

USABLE_FRACTION = 0.9
"""The part of the memory that a run can rely on; the rest goes to the program itself and to fragmentation."""

_TILE = 512
_FEWEST = "as few as the memory asks for"
"""Stands for a number of blocks that depends on what is still needed then."""


@dataclass(frozen=True)
class PlannedRun:
    """What is to be trained and where; ``has_own_prior``: the data set has regularization images of its own."""

    recipe: Recipe
    family: ModelFamily
    base: Path
    device: torch.device
    has_own_prior: bool = False

    def estimate(self, settings: Mapping[str, object]) -> tuple[Recipe, Estimate]:
        """Return the recipe with other ``settings``, by dotted key, and what it needs."""
        # A length in epochs is one in steps too by now.
        values = self.recipe.model_dump(mode="json", exclude={"steps"} if self.recipe.epochs is not None else None)
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            (values[section] if section else values)[name] = value
        changed = Recipe.model_validate(values)
        return changed, estimate(changed, self.family, self.base, self.device, self.has_own_prior)


@dataclass(frozen=True)
class Fitted:
    """A recipe with changed ``settings``, and what it needs."""

    recipe: Recipe
    settings: Mapping[str, object]
    needed: Estimate

    @property
    def options(self) -> str:
        """The changed settings as options of a command."""
        return " ".join(f"--set {key}={str(value).lower()}" for key, value in self.settings.items())


def save_memory(run: PlannedRun, available: int, allows: Callable[[Recipe], bool] = lambda _: True) -> Fitted:
    """Change the recipe until it needs at most ``available`` bytes, or nothing is left to change.

    Each change must help, and ``allows`` must agree with the recipe that it leads to.
    """
    fitted = Fitted(run.recipe, {}, run.estimate({})[1])
    before = None
    while fitted != before and fitted.needed.peak > available:
        # Once more, since what did not help by itself may help with what was changed after it.
        before, fitted = fitted, _round(run, fitted, available, allows)
    return fitted


def _round(run: PlannedRun, fitted: Fitted, available: int, allows: Callable[[Recipe], bool]) -> Fitted:
    """Try each change once, on top of those that helped."""
    for change in _changes(fitted.recipe, run.device):
        if fitted.needed.peak <= available:
            break
        settings = {**fitted.settings, **change}
        if settings.get("blocks_to_swap") == _FEWEST:
            settings["blocks_to_swap"] = fitted.needed.fewest_blocks(available)
        recipe, needed = run.estimate(settings)
        if needed.peak < fitted.needed.peak and allows(recipe):
            fitted = Fitted(recipe, settings, needed)
    return fitted


def _changes(recipe: Recipe, device: torch.device) -> Iterator[dict[str, object]]:
    """Yield recipe values that save memory, in the order in which they are tried: first those that change no result."""
    if not recipe.gradient_checkpointing:
        yield {"gradient_checkpointing": True}
    yield from _smaller_batches(recipe)
    previews = recipe.previews
    if previews.prompts and recipe.resolution > _TILE and previews.tile is None:
        yield {"previews.tile": _TILE}
    if not (previews.prompts or recipe.adapter.text_encoders or recipe.adapter.tokens or recipe.prior.prompts):
        yield {"text_encoders_on_cpu": True}
    if recipe.quantize != "int8" and not (recipe.compile or recipe.shard or processes.count() > 1):
        yield {"gradient_checkpointing": True, "blocks_to_swap": _FEWEST}
    yield from _changes_of_the_result(recipe, device)


def _changes_of_the_result(recipe: Recipe, device: torch.device) -> Iterator[dict[str, object]]:
    if recipe.previews.prompts:
        yield {"previews.prompts": []}
    if recipe.precision == "fp32" and device.type != "cpu":
        yield {"precision": "bf16"}
    if recipe.optimizer.name == "adamw":
        yield {"optimizer.name": "adafactor"}
    if recipe.quantize != "nf4" and recipe.adapter.initialization != "pissa" and not recipe.shard:
        yield {"quantize": "nf4"}
    if recipe.adapter.text_encoders:
        yield {"adapter.text_encoders": False}


def _smaller_batches(recipe: Recipe) -> Iterator[dict[str, object]]:
    """Yield the same number of images per step, in smaller batches."""
    batch, accumulate = recipe.batch_size, recipe.gradient_accumulation_steps
    while batch > 1:
        batch, accumulate = (batch // 2, accumulate * 2) if batch % 2 == 0 else (1, accumulate * batch)
        prior = max(1, recipe.prior.batch_size * batch // recipe.batch_size)
        yield {
            "batch_size": batch,
            "gradient_accumulation_steps": accumulate,
            **({"prior.batch_size": prior} if recipe.prior.weight else {}),
        }
