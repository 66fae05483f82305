"""Optimizers by name, each from the package that maintains it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from training.recipe import OptimizerRecipe

Parameters = Sequence[Tensor] | Sequence[dict[str, Any]]
"""Weights, or groups of them with settings of their own."""


def make_optimizer(recipe: OptimizerRecipe, parameters: Parameters) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over ``parameters``."""
    return _MAKERS[recipe.name](recipe, parameters)


def _adamw(recipe: OptimizerRecipe, parameters: Parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=recipe.betas, fused=True)


def _adamw_8bit(recipe: OptimizerRecipe, parameters: Parameters) -> torch.optim.Optimizer:
    import bitsandbytes

    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=recipe.betas
    )
    return optimizer


def _prodigy(recipe: OptimizerRecipe, parameters: Parameters) -> torch.optim.Optimizer:
    import prodigyopt

    # The settings its authors advise for diffusion models: bias correction, and no distance estimate while the rate warms up.
    optimizer: torch.optim.Optimizer = prodigyopt.Prodigy(
        parameters,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        betas=recipe.betas,
        use_bias_correction=True,
        safeguard_warmup=True,
    )
    return optimizer


def _adafactor(recipe: OptimizerRecipe, parameters: Parameters) -> torch.optim.Optimizer:
    # Steps are relative to a weight's size or to this, and an adapter's weights begin at zero: with one, a step is ``lr`` long.
    return torch.optim.Adafactor(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, eps=(None, 1.0))


_MAKERS: Mapping[str, Callable[[OptimizerRecipe, Parameters], torch.optim.Optimizer]] = MappingProxyType(
    {"adamw": _adamw, "adamw_8bit": _adamw_8bit, "prodigy": _prodigy, "adafactor": _adafactor}
)
