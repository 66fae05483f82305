"""How a step's images are divided and computed changes nothing about what is learned; what goes wrong is named."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from foundation.errors import StageFailed
from tests.training.conftest import prepared_base
from training.model import adapter
from training.model.objective import add_noise, loss_weights, squared_errors, target
from training.steps.batches import BatchSampler
from training.steps.train_step import TrainStep

pytestmark = pytest.mark.slow


def _loop(prepared: Path, *settings: str) -> TrainStep:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0", "optimizer.warmup_steps=0", *settings)
    return TrainStep(recipe, base, Accelerator(cpu=True), trained, None)


def _losses(prepared: Path, *settings: str) -> list[float]:
    loop = _loop(prepared, *settings)
    return [loop.step(step).loss for step in range(3)]


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


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_first_loss_is_what_the_base_is_wrong_by(prepared: Path, prediction: str) -> None:
    settings = (f"objective.prediction={prediction}", "prior.weight=0")
    recipe, base, trained, _ = prepared_base(prepared, *settings)
    ((batch,),) = BatchSampler(recipe, trained, None, len(base.levels)).passes(0)
    with torch.no_grad(), base.alone():
        predicted = base.predict(
            add_noise(batch.latents, batch.noise, base.levels, batch.timesteps), batch.timesteps, batch.conditioning
        )
    wanted = target(recipe.objective.prediction, batch.latents, batch.noise, base.levels, batch.timesteps)  # type: ignore[arg-type]
    weights = loss_weights(base.prediction, base.levels, batch.timesteps, recipe.objective.min_snr_gamma)
    expected = float((squared_errors(predicted, wanted) * weights).mean())

    assert base.prediction == prediction
    assert TrainStep(recipe, base, Accelerator(cpu=True), trained, None).step(0).loss == pytest.approx(expected, rel=1e-4)


def test_a_gradient_that_is_not_finite_stops_and_names_step_images_and_timesteps(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0", "batch_size=2")
    loop = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
    ((batch,),) = BatchSampler(recipe, trained, None, len(base.levels)).passes(3)
    before = loop.adapter()
    adapter.trained(base.adapted)[0].register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(StageFailed) as failure:
        loop.step(3)

    told = str(failure.value)
    assert "step 4: the gradient is not finite" in told
    for name, timestep in zip(batch.names, batch.timesteps.tolist(), strict=True):
        assert f"{name} at timestep {timestep}" in told
    assert "Lower optimizer.lr" in told
    assert all(torch.equal(weight, before[name]) for name, weight in loop.adapter().items())
