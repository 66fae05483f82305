"""What is Z-Image's own: its two releases have one configuration and are told apart by their names."""

import json
from pathlib import Path

import pytest

from zthumb import families

Z_IMAGE = families.get("z_image")


@pytest.mark.parametrize(
    ("folder", "source", "is_few_step"),
    [
        ("models/Z-Image-Turbo", "", True),
        ("hub/models--Tongyi-MAI--Z-Image-Turbo/snapshots/04cc4abb", "", True),
        ("models/unpacked/z_image_turbo_bf16-0123456789ab", "", True),
        ("models/mine", "Tongyi-MAI/Z-Image-Turbo", True),
        ("models/Z-Image", "Tongyi-MAI/Z-Image", False),
        ("turbo/models/Z-Image", "", False),
    ],
)
def test_turbo_is_known_by_its_name_wherever_it_lies(tmp_path: Path, folder: str, source: str, is_few_step: bool) -> None:
    path = tmp_path / folder
    path.mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": "ZImagePipeline", "_name_or_path": source}))

    assert Z_IMAGE.is_few_step(path) is is_few_step
