"""Images of a data set as a browser shows them."""

import io
from pathlib import Path

from PIL import Image

from foundation.image_reader import open_image


def small_version(path: Path, edge: int | None) -> bytes:
    """Return the image upright in sRGB as WebP, its longer edge at most ``edge`` pixels; lossless if it is not made smaller."""
    image = open_image(path).image
    is_smaller = edge is not None and max(image.size) > edge
    if edge is not None and is_smaller:
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=85, lossless=not is_smaller, method=2)
    return buffer.getvalue()
