"""Every optimizer lowers a loss; one whose package is missing says which."""

import importlib.util

import pytest
import torch

from foundation.errors import BadInput
from training import optimizers
from training.recipe import OptimizerRecipe


@pytest.mark.parametrize(("name", "lr"), [("adamw", 0.1), ("prodigy", 1.0), ("adafactor", 0.1)])
def test_it_goes_downhill(name: str, lr: float) -> None:
    weight = torch.nn.Parameter(torch.full((4, 4), 3.0))
    optimizer = optimizers.make(OptimizerRecipe.model_validate({"name": name, "lr": lr}), [weight])

    for _ in range(60):
        weight.pow(2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    assert float(weight.detach().abs().mean()) < 2.0


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="the package is there")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(BadInput, match=r"adamw_8bit needs the package bitsandbytes: .*pip install"):
        optimizers.make(OptimizerRecipe(name="adamw_8bit"), [torch.nn.Parameter(torch.zeros(1))])
