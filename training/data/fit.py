"""Fit an image to its training size, with SDXL's size conditioning."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from training.data.buckets import Size

MAX_UPSCALE = 4
"""An image that would have to be enlarged more than this has too little detail: the model would only learn its blur."""


@dataclass(frozen=True)
class FittedImage:
    """A fitted image, its mask if it has one, and SDXL's size conditioning: (height, width) and (top, left) in pixels."""

    image: Image.Image
    mask: Image.Image | None
    original_size: Size
    crop: tuple[int, int]


def fit_image(
    image: Image.Image, size: Size, crop: Literal["middle", "smart"] = "middle", mask: Image.Image | None = None
) -> FittedImage:
    """Scale ``image``, and ``mask`` with it, to just cover ``size`` (height, width), and crop the rest.

    The original size of an image that was scaled down is its new size, because it is as sharp as an image of that size. An image
    that was enlarged keeps its own size as the original size, so that the model does not learn its blur as part of the concept.
    """
    height, width = size
    scale = max(height / image.height, width / image.width)
    scaled_size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    scaled = image if scaled_size == image.size else image.resize(scaled_size, Image.Resampling.LANCZOS)
    left, top = _crop_corner(scaled, width, height, crop)
    box = (left, top, left + width, top + height)
    original = min(image.height, scaled.height), min(image.width, scaled.width)
    fitted_mask = mask.resize(scaled_size, Image.Resampling.BOX).crop(box) if mask else None
    return FittedImage(scaled.crop(box), fitted_mask, original, (top, left))


def _crop_corner(image: Image.Image, width: int, height: int, crop: Literal["middle", "smart"]) -> tuple[int, int]:
    if crop == "middle" or image.size == (width, height):
        return (image.width - width) // 2, (image.height - height) // 2
    from smartcrop import SmartCrop

    # At a scale of one: the image just covers the size already, so only the position of the crop is needed.
    corner = SmartCrop().crop(image, width, height, min_scale=1.0, max_scale=1.0)["top_crop"]
    return min(corner["x"], image.width - width), min(corner["y"], image.height - height)
