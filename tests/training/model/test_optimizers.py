"""Every optimizer lowers a loss."""

import pytest
import torch

from training.model import optimizers
from training.recipe import OptimizerRecipe


@pytest.mark.parametrize(("name", "lr"), [("adamw", 0.1), ("adamw_8bit", 0.1), ("prodigy", 1.0), ("adafactor", 0.1)])
def test_it_goes_downhill(name: str, lr: float) -> None:
    weight = torch.nn.Parameter(torch.full((64, 128), 3.0))
    optimizer = optimizers.make_optimizer(OptimizerRecipe.model_validate({"name": name, "lr": lr}), [weight])

    for _ in range(60):
        weight.pow(2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    assert float(weight.detach().abs().mean()) < 2.0


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit", "adafactor"])
def test_weights_that_begin_at_zero_move_as_far_as_the_rate_says(name: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(64, 128))
    optimizer = optimizers.make_optimizer(
        OptimizerRecipe.model_validate({"name": name, "lr": 1e-3, "weight_decay": 0.0}), [weight]
    )

    for _ in range(10):
        (weight - 1).pow(2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    assert 3e-3 < float(weight.detach().mean()) < 2e-2
