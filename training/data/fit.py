"""An image fitted to the size it is trained at, with what SDXL is told of its size."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from training.data.buckets import Size

LARGEST_ZOOM = 4
"""An image that would have to be enlarged more than this shows the trainer nothing but blur."""


@dataclass(frozen=True)
class Fitted:
    """A fitted image, its mask if it has one, and SDXL's size conditioning: (height, width) and (top, left) in pixels."""

    image: Image.Image
    mask: Image.Image | None
    original_size: Size
    crop: tuple[int, int]


def fit(image: Image.Image, size: Size, crop: Literal["middle", "smart"] = "middle", mask: Image.Image | None = None) -> Fitted:
    """Scale ``image``, and ``mask`` with it, to just cover ``size`` (height, width) and cut off what stands out.

    An image that was larger than it is now is told to the model as one of the size it now has: it is as sharp as one. A smaller
    one, which had to be enlarged, keeps its own size, so that the model does not learn its blur as the concept.
    """
    height, width = size
    zoom = max(height / image.height, width / image.width)
    covering = max(width, round(image.width * zoom)), max(height, round(image.height * zoom))
    scaled = image if covering == image.size else image.resize(covering, Image.Resampling.LANCZOS)
    left, top = _corner(scaled, width, height, crop)
    box = (left, top, left + width, top + height)
    original = min(image.height, scaled.height), min(image.width, scaled.width)
    fitted_mask = mask.resize(covering, Image.Resampling.BOX).crop(box) if mask else None
    return Fitted(scaled.crop(box), fitted_mask, original, (top, left))


def _corner(image: Image.Image, width: int, height: int, crop: Literal["middle", "smart"]) -> tuple[int, int]:
    if crop == "middle" or image.size == (width, height):
        return (image.width - width) // 2, (image.height - height) // 2
    from smartcrop import SmartCrop

    # At a scale of one: the image just covers its size already, and only where to cut is asked for.
    found = SmartCrop().crop(image, width, height, min_scale=1.0, max_scale=1.0)["top_crop"]
    return min(found["x"], image.width - width), min(found["y"], image.height - height)
