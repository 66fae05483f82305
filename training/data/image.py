"""Open a raw image as every image is opened, and check that it is large enough to train on."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from foundation.image_reader import BadImage, open_image


@dataclass(frozen=True)
class OpenedRawImage:
    """An image in RGB, with notes for the user on how it was read."""

    image: Image.Image
    notes: tuple[str, ...] = ()


def open_raw_image(path: Path, min_side: int = 1, background: str = "white") -> OpenedRawImage:
    """Open ``path`` by ``foundation.image_reader.open_image``.

    Raises ``BadImage`` also for an image with a side of fewer than ``min_side`` pixels.
    """
    opened = open_image(path, background)
    width, height = opened.image.size
    if min(width, height) < min_side:
        raise BadImage(path, f"only {width} × {height} pixels; at least {min_side} × {min_side} are needed.")
    return OpenedRawImage(opened.image, opened.notes)
