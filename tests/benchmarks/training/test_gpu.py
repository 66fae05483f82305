"""The GPU benchmark of training, with the miniature's configuration and on the CPU: it measures the trainer's own step."""

from pathlib import Path

import pytest
import torch

from benchmarks.training import gpu
from training.memory.estimate import operations_per_second
from training.recipe import Recipe
from zthumb import families

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_setting_is_measured(miniature: Path, checkpointing: bool) -> None:
    values = {"base": "x", "resolution": 128, "batch_size": 2, "precision": "bf16", "prior": {"weight": 0}}
    recipe = Recipe.model_validate({**values, "gradient_checkpointing": checkpointing})
    device = torch.device("cpu")

    row = gpu.measure(recipe, families.get("sdxl"), miniature, device, operations_per_second(device, torch.float32), steps=1)

    assert (row.batch, row.gradient_checkpointing, row.compile) == (2, checkpointing, False)
    assert row.images_per_second > 0
    assert 0 < row.share_of_peak < 1
    assert row.estimated_peak_bytes < row.peak_bytes


def test_without_a_gpu_the_error_names_the_cpu_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    if not torch.cuda.is_available():
        assert gpu.main([]) == 2
        assert "`make bench_train` measures on the CPU" in capsys.readouterr().err
