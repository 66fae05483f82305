"""A picture fitted to the training resolution, with what SDXL is told of its size."""

from dataclasses import dataclass

from PIL import Image

LARGEST_ZOOM = 4
"""A picture that would have to be enlarged more than this shows the trainer nothing but blur."""


@dataclass(frozen=True)
class Fitted:
    """A square picture and SDXL's size conditioning for it, (height, width) and (top, left) in pixels."""

    picture: Image.Image
    original_size: tuple[int, int]
    crop: tuple[int, int]


def fit(picture: Image.Image, resolution: int) -> Fitted:
    """Scale the shorter side to ``resolution`` and cut out the middle.

    A picture that was larger than it is now is told to the model as one of the size it now has: it is as sharp as one. A smaller
    one, which had to be enlarged, keeps its own size, so that the model does not learn its blur as the concept.
    """
    zoom = resolution / min(picture.size)
    width, height = (max(resolution, round(side * zoom)) for side in picture.size)
    scaled = picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    original = (min(picture.height, height), min(picture.width, width))
    return Fitted(scaled.crop((left, top, left + resolution, top + resolution)), original, (top, left))
