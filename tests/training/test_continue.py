"""A finished run continues if more steps are requested, and a run can start from another adapter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from tests.training.conftest import quick_arguments
from training import train_lora
from zthumb.adapters.layouts import save_kohya

pytestmark = pytest.mark.slow

CONSTANT = ("optimizer.schedule=constant", "prior.weight=0", "adapter.rank=4", "validation.strata=1")


def _weights(run: str, step: int) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(f"outputs/lora/{run}/checkpoints/step-{step:06d}/adapter.safetensors")
    return weights


def test_more_steps_after_the_end_give_the_same_weights_as_a_longer_run(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, steps in (("short", 2), ("short", 4), ("long", 4)):
        assert train_lora.main(quick_arguments(prepared, run, *CONSTANT, f"steps={steps}")) == 0

    assert "starts over" not in capsys.readouterr().out
    continued, uninterrupted = _weights("short", 4), _weights("long", 4)
    assert all(torch.equal(continued[name], uninterrupted[name]) for name in continued)


def test_fewer_steps_after_the_end_start_over_and_the_longer_run_is_archived(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps in (4, 2):
        assert train_lora.main(quick_arguments(prepared, "run", *CONSTANT, f"steps={steps}")) == 0

    assert "only 2 steps are asked for, so it starts over; what it held, 4 steps, is now" in capsys.readouterr().out
    assert '"step": 2' in Path("outputs/lora/run/chosen.json").read_text()
    assert '"step": 4' in Path("outputs/lora/run-earlier-1/chosen.json").read_text()


def test_a_run_starts_with_the_weights_of_the_adapter_it_starts_from(prepared: Path) -> None:
    adapter = random_adapter(MINIATURE, rank=3, alpha=2.0)
    save_kohya(adapter, Path("begin.safetensors"), *MINI_SDXL, {})
    sets = (
        *CONSTANT,
        "steps=1",
        "optimizer.lr=1e-12",
        "optimizer.warmup_steps=0",
        "adapter.alpha=8",
        "adapter.from=./begin.safetensors",
    )

    assert train_lora.main(quick_arguments(prepared, "on", *sets)) == 0

    trained = _weights("on", 1)
    for path, layer in adapter.layers.items():
        change = trained[f"{path}.lora_B.weight"] @ trained[f"{path}.lora_A.weight"] * (8 / 4)
        assert torch.allclose(change, layer.change(), atol=1e-5)


def test_an_adapter_with_modules_that_are_not_trained_is_refused_as_the_start(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_kohya(random_adapter(MINIATURE, targets="attention+feed-forward"), Path("begin.safetensors"), *MINI_SDXL, {})
    sets = (*CONSTANT, "steps=1", "adapter.targets=attention", "adapter.from=./begin.safetensors")

    assert train_lora.main(quick_arguments(prepared, "on", *sets)) == 2
    assert "modules that are not trained here" in capsys.readouterr().err
