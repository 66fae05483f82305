from pathlib import Path

import pytest
import torch

from benchmarks.serving import variants
from foundation.files import read_json

pytestmark = pytest.mark.slow


def test_quantized_variants_take_less_memory_and_change_images_a_little(
    miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["bf16", "Q4_0", "fp8dq"]
    assert variants.main(["--models", str(miniature), "--rounds", "1", "--steps", "2", "--only", *names]) == 0
    (model,) = read_json(tmp_path / "outputs" / "bench" / "variants.json")["models"]
    full, *others = model["rows"]
    quantized = next(row for row in others if row["form"] == "Q4_0")
    assert quantized["bytes"] < 0.7 * full["bytes"]
    assert full["error"] < quantized["error"] < 20
    assert full["prediction_error"] < quantized["prediction_error"] < 0.5
    # An adapter is added to what the base computes, in however many bits.
    assert quantized["effect"] == pytest.approx(1, abs=0.2)
    assert full["angle"] < quantized["angle"] < 45
    assert full["time"] == 1
    if not torch.cuda.is_available():
        assert next(row for row in others if row["form"] == "fp8dq")["error"] is None
