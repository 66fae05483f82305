"""A raw image as the preparation takes it: read as every image is, and large enough to learn from."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from foundation.images import BadImage, open_image


@dataclass(frozen=True)
class Opened:
    """An image in RGB, and what the user should know of how it got there."""

    image: Image.Image
    notes: tuple[str, ...] = ()


def open_raw_image(path: Path, least: int = 1, background: str = "white") -> Opened:
    """Open ``path`` as ``foundation.images.open_image`` does.

    Raises ``BadImage`` also for an image with a side of fewer than ``least`` pixels.
    """
    opened = open_image(path, background)
    width, height = opened.image.size
    if min(width, height) < least:
        raise BadImage(path, f"only {width} × {height} pixels; at least {least} × {least} are needed.")
    return Opened(opened.image, opened.notes)
