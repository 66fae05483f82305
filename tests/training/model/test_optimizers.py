"""Every optimizer lowers a loss."""

import pytest
import torch

from training.model import optimizers
from training.recipe import OptimizerRecipe


@pytest.mark.parametrize(("name", "lr"), [("adamw", 0.1), ("adamw_8bit", 0.1), ("prodigy", 1.0), ("adafactor", 0.1)])
def test_it_goes_downhill(name: str, lr: float) -> None:
    weight = torch.nn.Parameter(torch.full((64, 128), 3.0))
    optimizer = optimizers.make(OptimizerRecipe.model_validate({"name": name, "lr": lr}), [weight])

    for _ in range(60):
        weight.pow(2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    assert float(weight.detach().abs().mean()) < 2.0
