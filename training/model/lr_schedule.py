"""The learning rate of each step: a linear warm-up, then the schedule's way down."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from training.recipe import OptimizerRecipe

_WAYS_DOWN: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda _: 1.0,
        "linear": lambda done: 1.0 - done,
        "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    }
)
"""Share of the run done after the warm-up, 0 … 1 → share of the rate."""


def rate_at(step: int, steps: int, recipe: OptimizerRecipe) -> float:
    """The rate of ``step``, 0 … ``steps`` - 1; every step learns something, the last one included."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.lr * _WAYS_DOWN[recipe.schedule](done)
