"""Duplicates of an image are found; different images of one object are not taken for duplicates."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageEnhance

from foundation.fingerprint import fingerprint
from tests.conftest import ROOT
from training.data.duplicates import group_duplicates


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


@pytest.mark.parametrize("modify", [_compressed, _reduced, _brightened])
def test_a_modified_image_is_a_duplicate(modify: Callable[[Image.Image], Image.Image]) -> None:
    for image in _images():
        assert group_duplicates([fingerprint(image), fingerprint(modify(image))]) == [(0, 1)]


def test_different_images_of_one_object_are_not_duplicates() -> None:
    images = _images()

    assert group_duplicates([fingerprint(image) for image in images]) == [(index,) for index in range(len(images))]


def test_duplicates_are_grouped_whatever_their_order() -> None:
    first, second, third = _images()[:3]
    mixed = [first, second, _compressed(first), third, _reduced(second), _brightened(first)]

    assert group_duplicates([fingerprint(image) for image in mixed]) == [(0, 2, 5), (1, 4), (3,)]
