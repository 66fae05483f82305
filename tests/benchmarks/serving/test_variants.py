from pathlib import Path

import pytest
import torch

from benchmarks.serving import variants
from foundation.files import read_json

pytestmark = pytest.mark.slow


def test_fewer_bits_take_less_and_differ_a_little(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forms = ["full, bf16", "gguf, Q4_0", "full, fp8dq"]
    assert variants.main(["--model", str(miniature), "--rounds", "1", "--steps", "4", "--only", *forms]) == 0
    whole, *others = read_json(tmp_path / "outputs" / "bench" / "variants.json")["rows"]
    few = next(row for row in others if row["form"] == "gguf, Q4_0")
    assert few["bytes"] < 0.7 * whole["bytes"]
    assert whole["error"] < few["error"] < 20
    assert whole["time"] == 1
    if not torch.cuda.is_available():
        assert next(row for row in others if row["form"] == "full, fp8dq")["error"] is None
