"""Two versions of one picture are found; two pictures of one thing are not taken for versions of one."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageEnhance

from foundation.fingerprint import fingerprint
from tests.conftest import ROOT
from training.data.duplicates import groups


def _pictures() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((ROOT / "datasets" / "z" / "raw").glob("*.png"))]


def _compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=60)
    return Image.open(buffer).convert("RGB")


def _reduced(picture: Image.Image) -> Image.Image:
    return picture.resize((96, 96), Image.Resampling.LANCZOS)


def _brightened(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1.06)


@pytest.mark.parametrize("version", [_compressed, _reduced, _brightened])
def test_a_version_of_a_picture_is_found(version: Callable[[Image.Image], Image.Image]) -> None:
    for picture in _pictures():
        assert groups([fingerprint(picture), fingerprint(version(picture))]) == [(0, 1)]


def test_different_pictures_of_one_thing_are_kept_apart() -> None:
    pictures = _pictures()

    assert groups([fingerprint(picture) for picture in pictures]) == [(place,) for place in range(len(pictures))]


def test_groups_hold_versions_together_in_whatever_order_they_come() -> None:
    first, second, third = _pictures()[:3]
    mixed = [first, second, _compressed(first), third, _reduced(second), _brightened(first)]

    assert groups([fingerprint(picture) for picture in mixed]) == [(0, 2, 5), (1, 4), (3,)]
