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
    names = ["full, bf16", "gguf, Q4_0", "full, fp8dq"]
    assert variants.main(["--model", str(miniature), "--rounds", "1", "--steps", "4", "--only", *names]) == 0
    full, *others = read_json(tmp_path / "outputs" / "bench" / "variants.json")["rows"]
    quantized = next(row for row in others if row["form"] == "gguf, Q4_0")
    assert quantized["bytes"] < 0.7 * full["bytes"]
    assert full["error"] < quantized["error"] < 20
    assert full["time"] == 1
    if not torch.cuda.is_available():
        assert next(row for row in others if row["form"] == "full, fp8dq")["error"] is None
