"""An adapter of every family learns: twenty steps lower the loss on the training images, at the same noise and times."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.training.conftest import prepared_base
from training.encoding.encoded_examples import Examples
from training.model.adapted_model import AdaptedModel
from training.steps.train_step import TrainStep

pytestmark = pytest.mark.slow


def _loss(base: AdaptedModel, examples: Examples) -> float:
    latents, generator = torch.stack(examples.latents), torch.Generator().manual_seed(0)
    noise, times = torch.randn(latents.shape, generator=generator), torch.linspace(300, 900, len(latents)).long()
    with torch.no_grad():
        noisy = base.process.add_noise(latents, noise, times)
        predicted = base.predict(noisy, times, examples.conditioning.select(range(len(latents))))
    return float((predicted - base.process.target(latents, noise, times)).square().mean())


@pytest.mark.parametrize("name", ["mini-sd15", "mini-sdxl"])
def test_twenty_steps_lower_the_loss(prepared: Path, name: str) -> None:
    adapter = ("adapter.targets=attention+feed-forward", "adapter.rank=32", "adapter.alpha=32")
    sets = (f"base=models/{name}", "prior.weight=0", "optimizer.warmup_steps=0", "optimizer.lr=2e-3")
    recipe, base, examples, _ = prepared_base(prepared, *adapter, *sets)
    train_step, before = TrainStep(recipe, base, Accelerator(cpu=True), examples, None), _loss(base, examples)

    for step in range(20):
        train_step.step(step)

    assert _loss(base, examples) < 0.95 * before
