from pathlib import Path

import pytest

from benchmarks.serving import serve
from foundation.files import read_json

pytestmark = pytest.mark.slow


def test_every_figure_is_measured(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve.main(["--model", str(miniature), "--rounds", "1"]) == 0
    results = read_json(tmp_path / "outputs" / "bench" / "serve.json")
    figures = [results[name] for name in ("overhead_ms", "adapter_switch_ms", "scale_change_ms", "throughput_gain", "ready_s")]
    assert all(figure > 0 for figure in figures)
