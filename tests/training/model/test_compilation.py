"""Compiled blocks learn what they learn otherwise, and where they cannot be compiled that is told at once."""

from pathlib import Path

import pytest
from accelerate import Accelerator
from torch._dynamo.utils import counters

from tests.training.conftest import prepared_base, quick_arguments
from training import train_lora
from training.steps.train_step import TrainStep

pytestmark = pytest.mark.slow


def test_compiled_blocks_learn_what_they_learn_otherwise(prepared: Path) -> None:
    counters.clear()
    losses = []
    for compiled in ("false", "true"):
        recipe, base, trained, _ = prepared_base(
            prepared, f"compile={compiled}", "steps=3", "batch_size=1", "prior.weight=0", "adapter.targets=attention"
        )
        train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
        losses.append([report.loss for report in train_step.steps_after(0)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert counters["stats"]["unique_graphs"] > 0


def test_without_a_compiler_it_says_so_before_anything_is_encoded(
    unencoded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert train_lora.main(quick_arguments(unencoded, "compiled", "compile=true")) == 2
    assert "compile: needs g++ or clang++" in capsys.readouterr().err
    assert not Path("outputs/cache").exists()
