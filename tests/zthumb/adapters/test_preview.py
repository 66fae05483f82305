"""The picture of an adapter: beside its file under its name, else the first of its card."""

from pathlib import Path

import pytest
from PIL import Image

from zthumb.adapters.preview import preview_of


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_an_adapter_without_a_picture_has_none(tmp_path: Path) -> None:
    _image(tmp_path / "other.png")
    assert preview_of(tmp_path / "a.safetensors", tmp_path) is None


@pytest.mark.parametrize("name", ["a.preview.png", "a.png", "a.jpg", "a.webp"])
def test_a_picture_of_its_name_is_that_of_an_adapter(tmp_path: Path, name: str) -> None:
    expected = _image(tmp_path / name)
    assert preview_of(tmp_path / "a.safetensors", tmp_path) == expected


def test_an_adapter_that_has_a_folder_of_its_own_has_the_first_picture_of_its_card(tmp_path: Path) -> None:
    card = _image(tmp_path / "a" / "images" / "01-adapter.png")
    assert preview_of(tmp_path / "a" / "a.safetensors", tmp_path) == card
    # Another one in that folder does not.
    assert preview_of(tmp_path / "a" / "b.safetensors", tmp_path) is None


def test_a_link_out_of_the_folder_is_no_picture(tmp_path: Path) -> None:
    outside = _image(tmp_path / "secret.png")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.png").symlink_to(outside)
    assert preview_of(tmp_path / "models" / "a.safetensors", tmp_path / "models") is None
