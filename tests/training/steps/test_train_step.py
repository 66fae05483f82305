"""How a step's images are divided and computed changes nothing about what is learned; what goes wrong is named."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from foundation.errors import BadInput, StageFailed
from tests.training.conftest import prepared_base
from training.model import peft_adapter
from training.model.objective import squared_errors
from training.steps.batches import BatchSampler
from training.steps.train_step import TrainStep
from zthumb.diffusion.ddpm import DDPM

pytestmark = pytest.mark.slow


def _train_step(prepared: Path, *settings: str) -> TrainStep:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0", "optimizer.warmup_steps=0", *settings)
    return TrainStep(recipe, base, Accelerator(cpu=True), trained, None)


def _losses(prepared: Path, *settings: str) -> list[float]:
    train_step = _train_step(prepared, *settings)
    return [train_step.step(step).loss for step in range(3)]


@pytest.mark.parametrize(
    ("settings", "apart"),
    [
        (("batch_size=1", "gradient_accumulation_steps=4"), 1e-4),
        (("batch_size=4", "gradient_checkpointing=true"), 1e-4),
        (("batch_size=4", "precision=bf16"), 0.03),
        (("batch_size=4", "precision=fp16"), 0.01),
    ],
    ids=str,
)
def test_losses_are_those_of_the_plain_step(prepared: Path, settings: tuple[str, ...], apart: float) -> None:
    assert _losses(prepared, *settings) == pytest.approx(_losses(prepared, "batch_size=4"), rel=apart)


@pytest.mark.parametrize(
    "settings",
    [(), ("precision=bf16", "adapter.use_dora=true"), ("quantize=nf4", "precision=bf16"), ("adapter.initialization=pissa",)],
    ids=str,
)
def test_swapped_blocks_learn_the_same_to_the_bit(prepared: Path, settings: tuple[str, ...]) -> None:
    settings = ("batch_size=4", "gradient_checkpointing=true", *settings)
    resident, swapped = _train_step(prepared, *settings), _train_step(prepared, *settings, "blocks_to_swap=14")

    losses = [[train_step.step(step).loss for step in range(3)] for train_step in (resident, swapped)]

    assert losses[0] == losses[1]
    expected, found = resident.adapter(), swapped.adapter()
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_more_blocks_than_there_are_cannot_be_swapped(prepared: Path) -> None:
    with pytest.raises(BadInput, match="models/mini-sdxl has 14 blocks, not 15"):
        _train_step(prepared, "gradient_checkpointing=true", "blocks_to_swap=15")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_first_loss_is_the_bases_error(prepared: Path, prediction: str) -> None:
    settings = (f"objective.prediction={prediction}", "prior.weight=0")
    recipe, base, trained, _ = prepared_base(prepared, *settings)
    process = base.process
    ((batch,),) = BatchSampler(recipe, trained, None, process).passes(0)
    with torch.no_grad(), base.adapter_disabled():
        noisy = process.add_noise(batch.latents, batch.noise, batch.times)
        predicted = base.predict(noisy, batch.times, batch.conditioning)
    target = process.target(batch.latents, batch.noise, batch.times)
    weights = process.loss_weights(batch.times, recipe.objective.min_snr_gamma)
    expected = float((squared_errors(predicted, target) * weights).mean())

    assert isinstance(process, DDPM)
    assert process.prediction == prediction
    assert TrainStep(recipe, base, Accelerator(cpu=True), trained, None).step(0).loss == pytest.approx(expected, rel=1e-4)


def test_a_gradient_that_is_not_finite_stops_and_names_step_images_and_timesteps(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0", "batch_size=2")
    train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
    ((batch,),) = BatchSampler(recipe, trained, None, base.process).passes(3)
    before = train_step.adapter()
    peft_adapter.trained_parameters(base.adapted)[0].register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(StageFailed) as failure:
        train_step.step(3)

    message = str(failure.value)
    assert "step 4: the gradient is not finite" in message
    for name, timestep in zip(batch.names, batch.times.tolist(), strict=True):
        assert f"{name} at timestep {timestep}" in message
    assert "Lower optimizer.lr" in message
    assert all(torch.equal(weight, before[name]) for name, weight in train_step.adapter().items())
