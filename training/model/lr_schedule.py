"""The learning rate of each step: a linear warm-up, then the schedule's decay."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from training.recipe import OptimizerRecipe

_DECAYS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda _: 1.0,
        "linear": lambda progress: 1.0 - progress,
        "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
)
"""Progress of the run after the warm-up, 0 … 1 → factor of the learning rate."""


def lr_at(step: int, steps: int, recipe: OptimizerRecipe) -> float:
    """Return the learning rate of ``step``, 0 … ``steps`` - 1; it is above zero at the last step too."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.lr * _DECAYS[recipe.schedule](progress)
