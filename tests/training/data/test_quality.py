"""Blurred and empty images are flagged; the images of the demo data set are not."""

import pytest
from PIL import Image, ImageFilter

from tests.conftest import ROOT
from training.data.quality import quality_flags

PATHS = sorted((ROOT / "datasets" / "z" / "raw").glob("*.png"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_sharp_image_passes_and_its_blurred_version_is_flagged(path: object) -> None:
    image = Image.open(str(path)).convert("RGB")

    assert quality_flags(image) == ()
    assert quality_flags(image.filter(ImageFilter.GaussianBlur(4))) == ("looks blurred",)


@pytest.mark.parametrize(("colour", "flag"), [("black", "nearly all of it is black"), ("white", "nearly all of it is white")])
def test_an_image_that_shows_nothing_is_flagged(colour: str, flag: str) -> None:
    assert flag in quality_flags(Image.new("RGB", (64, 64), colour))
