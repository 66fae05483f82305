"""What a report says about an adapter's training, read from the adapter's file."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from evaluation.collection.subjects import describe_training


@pytest.mark.parametrize(
    ("metadata", "description"),
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
def test_the_file_says_how_long_an_adapter_was_trained_and_why_no_longer(
    tmp_path: Path, metadata: dict[str, str] | None, description: str | None
) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, file, metadata)
    assert describe_training(file) == description


def test_a_file_of_another_format_has_no_description(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(b"PK\x03\x04 no safetensors")
    assert describe_training(file) is None
