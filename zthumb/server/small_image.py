"""Images of data sets and adapters as a browser shows them."""

import io
from pathlib import Path

from PIL import Image

from foundation.errors import BadInput
from foundation.image_reader import open_image

WEBP_MAX_DIMENSION = 16383
"""Pixels (https://developers.google.com/speed/webp/docs/riff_container)."""


def small_version(path: Path, edge: int | None) -> bytes:
    """Return the image upright in sRGB as WebP, its longer edge at most ``edge`` pixels; lossless if it is not made smaller."""
    image = open_image(path).image
    if max(image.size) > WEBP_MAX_DIMENSION and edge is None:
        raise BadInput(f"{path.name}: {image.width} × {image.height} is too large to be shown whole; crop it in another program.")
    is_smaller = edge is not None and max(image.size) > edge
    if edge is not None and is_smaller:
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=85, lossless=not is_smaller, method=2)
    return buffer.getvalue()
