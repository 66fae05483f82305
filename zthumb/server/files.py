"""Pictures as files: encoded, with what they were made from inside, and read back."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.server.settings import OutputFormat

if TYPE_CHECKING:
    from PIL import Image

PARAMETERS = "zthumb"
"""The PNG text chunk that holds them, as JSON."""

_FORMATS = ("PNG",)


def encoded(picture: "Image.Image", output_format: OutputFormat, parameters: Mapping[str, Any]) -> bytes:
    """A picture as a file; a PNG carries its ``parameters``."""
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    if output_format == "png":
        told = PngInfo()
        told.add_text(PARAMETERS, json.dumps(parameters, sort_keys=True))
        picture.save(buffer, format="png", pnginfo=told)
    else:
        picture.save(buffer, format=output_format, quality=95)
    return buffer.getvalue()


def parameters_of(data: bytes) -> dict[str, Any]:
    """What a PNG of this server was made from; ``BadInput`` for any other file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            text = picture.info.get(PARAMETERS)
        found = json.loads(text) if isinstance(text, str) else None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, RecursionError, Image.DecompressionBombError):
        raise BadInput("the body is no PNG that can be read.") from None
    if not isinstance(found, dict):
        raise BadInput("this PNG carries no parameters of this server.")
    return found
