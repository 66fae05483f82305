from pathlib import Path

import pytest

from foundation.errors import BadInput
from zthumb.sources.bases import find_base
from zthumb.sources.local import family_of, hash_base


def test_a_base_is_found_and_its_family_recognized(miniature: Path) -> None:
    assert find_base(str(miniature)) == miniature
    assert family_of(miniature) == "sdxl"


def test_an_unsupported_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(BadInput, match="a KandinskyPipeline model, which is not supported"):
        family_of(find_base(str(tmp_path)))


def test_the_hash_of_a_base_depends_on_its_weights_and_not_on_its_card(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text('{"_class_name": "X", "unet": ["diffusers", "Y"]}')
    (tmp_path / "unet" / "a.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("card")
    first = hash_base(tmp_path)
    (tmp_path / "README.md").write_text("another card")
    assert hash_base(tmp_path) == first
    (tmp_path / "unet" / "a.safetensors").write_bytes(b"other weights")
    assert hash_base(tmp_path) != first
