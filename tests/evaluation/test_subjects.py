"""What a report tells of an adapter's training, from the adapter's file."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from evaluation.subjects import training


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"ss_steps": "400", "ss_max_train_steps": "400"}, "step 400 of at most 400"),
        ({"ss_steps": "1600"}, "step 1600"),
        ({"ss_steps": "1600", "ss_max_train_steps": "2000", "ss_training_comment": "None"}, "step 1600 of at most 2000"),
        (
            {"ss_steps": "200", "ss_max_train_steps": "400", "ss_training_comment": "it ended after 300 steps"},
            "step 200 of at most 400: it ended after 300 steps",
        ),
        ({"ss_training_comment": "my best"}, None),
        (None, None),
    ],
)
def test_an_adapter_tells_how_long_it_was_trained_and_why_no_longer(
    tmp_path: Path, metadata: dict[str, str] | None, told: str | None
) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, file, metadata)
    assert training(file) == told


def test_a_file_of_another_kind_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(b"PK\x03\x04 no safetensors")
    assert training(file) is None
