"""The GPU benchmark of the server, with the miniature's configuration and on the CPU."""

from pathlib import Path

import pytest
import torch

from benchmarks.serving import gpu
from tests.conftest import ROOT
from zthumb import families

pytestmark = pytest.mark.slow


def test_plain_diffusers_and_the_server_are_measured(miniature: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    rows = gpu.measure(families.get("sdxl"), miniature, 128, steps=2, images=2, rounds=1, settings={})
    assert [row.what for row in rows] == ["plain diffusers", "this server"]
    assert all(row.images_per_second > 0 and row.peak_bytes > 2**27 for row in rows)


def test_without_a_gpu_the_error_names_the_cpu_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    if not torch.cuda.is_available():
        assert gpu.main([]) == 2
        assert "`make bench_serve` measures on the CPU" in capsys.readouterr().err
