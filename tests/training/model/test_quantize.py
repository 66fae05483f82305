"""A base in fewer bits is nearly the base, learns as it does, and its adapter fits the whole one."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.training.conftest import prepared_base, quick_arguments
from tests.training.test_train_lora import _adapter
from training import export_lora, train_lora
from training.model.quantize import linear_weights
from training.steps.train_step import TrainStep
from zthumb import families
from zthumb.adapters import fitting_base

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "apart"), [("int8", 0.02), ("nf4", 0.15)])
def test_the_quantized_base_predicts_nearly_the_same_with_a_part_of_the_memory(prepared: Path, kind: str, apart: float) -> None:
    _, whole, trained, _ = prepared_base(prepared)
    _, fewer, _, _ = prepared_base(prepared, f"quantize={kind}")
    noisy, timesteps, conditioning = (
        torch.stack(trained.latents[:4]),
        torch.tensor([50, 300, 600, 950]),
        trained.conditioning.select([0, 1, 2, 3]),
    )
    with torch.no_grad(), whole.adapter_disabled(), fewer.adapter_disabled():
        expected, found = whole.predict(noisy, timesteps, conditioning), fewer.predict(noisy, timesteps, conditioning)
    assert 0 < float((found - expected).norm() / expected.norm()) < apart
    bytes_whole, bytes_fewer = (
        sum(weight.nbytes for weight in base.adapted.parameters() if not weight.requires_grad) for base in (whole, fewer)
    )
    spared = linear_weights(families.get("sdxl").build_component("unet", whole.components["unet"].config)) * (
        3.0 if kind == "int8" else 3.5
    )
    assert bytes_whole - bytes_fewer == pytest.approx(spared, rel=0.02)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_it_trains_exports_and_resumes_as_any_other(prepared: Path, kind: str) -> None:
    train_lora.main(quick_arguments(prepared, "a", f"quantize={kind}"))
    train_lora.main(quick_arguments(prepared, "b", f"quantize={kind}"))
    assert _adapter("a") == _adapter("b")
    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 0
    found = fitting_base.recognize(Path("models/lora/a/a.safetensors"), Path("models/mini-sdxl")).adapter
    assert max(float(each.change().abs().max()) for each in found.layers.values()) > 1e-4


def test_sixteen_bit_floats_are_scaled_and_a_step_that_overflows_is_left_out(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, "precision=fp16", "batch_size=1", "prior.weight=0")
    train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
    before = train_step.adapter()
    # Far beyond what fp16 holds, so that the first gradients overflow.
    train_step._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)

    report = train_step.step(0)

    assert report.is_left_out
    assert all(torch.equal(weight, before[name]) for name, weight in train_step.adapter().items())
    assert train_step.state()["scaler"]["scale"] == 2.0**39
    train_step._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    assert not train_step.step(1).is_left_out
    assert any(not torch.equal(weight, before[name]) for name, weight in train_step.adapter().items())
