"""Two versions of one image are found; two images of one thing are not taken for versions of one."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageEnhance

from foundation.fingerprint import fingerprint
from tests.conftest import ROOT
from training.data.duplicates import groups


def _images() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((ROOT / "datasets" / "z" / "raw").glob("*.png"))]


def _compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=60)
    return Image.open(buffer).convert("RGB")


def _reduced(image: Image.Image) -> Image.Image:
    return image.resize((96, 96), Image.Resampling.LANCZOS)


def _brightened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.06)


@pytest.mark.parametrize("version", [_compressed, _reduced, _brightened])
def test_a_version_of_a_image_is_found(version: Callable[[Image.Image], Image.Image]) -> None:
    for image in _images():
        assert groups([fingerprint(image), fingerprint(version(image))]) == [(0, 1)]


def test_different_images_of_one_thing_are_kept_apart() -> None:
    images = _images()

    assert groups([fingerprint(image) for image in images]) == [(place,) for place in range(len(images))]


def test_groups_hold_versions_together_in_whatever_order_they_come() -> None:
    first, second, third = _images()[:3]
    mixed = [first, second, _compressed(first), third, _reduced(second), _brightened(first)]

    assert groups([fingerprint(image) for image in mixed]) == [(0, 2, 5), (1, 4), (3,)]
