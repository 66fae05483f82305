"""A short soak: no request fails, and memory stays flat."""

from pathlib import Path

import pytest

from benchmarks.serving import soak
from foundation.files import read_json

pytestmark = pytest.mark.slow


def test_many_adapters_leave_memory_flat(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Memory that is allocated once is a larger share of the growth in so short a run.
    monkeypatch.setattr(soak, "MAX_GROWTH", 0.15)
    assert soak.main(["--model", str(miniature), "--requests", "80", "--adapters", "14"]) == 0
    figures = read_json(tmp_path / "outputs" / "bench" / "soak.json")
    assert len(figures["memory_mb"]) == 40
    assert min(figures["memory_mb"]) > 200


@pytest.mark.parametrize(("memory", "growth"), [([100.0] * 8, 0.0), ([100, 100, 200, 200, 200, 200, 300, 300], 0.5)])
def test_growth_is_measured_from_the_second_quarter_to_the_last(memory: list[float], growth: float) -> None:
    assert soak._growth(memory) == growth
