"""Encodes images as files with their generation parameters inside: as this server's own JSON, and as A1111 writes them."""

import io
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from zthumb.adapters import library
from zthumb.server.settings import OutputFormat
from zthumb.server.storage import a1111_samplers, infotext

if TYPE_CHECKING:
    from PIL import Image

PARAMETERS_CHUNK = "zthumb"
"""The PNG text chunk that holds the parameters as JSON."""

_MAX_COMMENT_BYTES = 65_000


def encode_image(image: "Image.Image", output_format: OutputFormat, parameters: Mapping[str, Any]) -> bytes:
    """Return an image file that carries its ``parameters``: a PNG in text chunks, JPEG and WebP in the EXIF user comment."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    text = _infotext(parameters) if parameters else ""
    if output_format == "png":
        chunks = PngInfo()
        chunks.add_text(PARAMETERS_CHUNK, json.dumps(parameters, sort_keys=True))
        if text:
            # Pillow writes Latin-1 text as a plain chunk and all other text as an international one.
            chunks.add_text(infotext.CHUNK, text)
        image.save(buffer, format="png", pnginfo=chunks)
    else:
        exif = Image.Exif()
        # A prompt of many thousand characters does not fit into a segment of a JPEG: it is left out.
        text = text if len(text.encode("utf-16-be")) <= _MAX_COMMENT_BYTES else ""
        exif.get_ifd(infotext.EXIF_BLOCK)[infotext.USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
        image.save(buffer, format=output_format, quality=95, **({"exif": exif} if text else {}))
    return buffer.getvalue()


def _prompt_name(path: PurePosixPath) -> str:
    """Return an adapter's name in prompts: its file's name, or its folder's where every trainer writes the same file name."""
    return path.parent.relative_to(library.FOLDER).as_posix() if path.name in library.OF_THEIR_FOLDER else path.stem


def _infotext(parameters: Mapping[str, Any]) -> str:
    sampler, schedule = a1111_samplers.shown(parameters["scheduler"])
    values = {
        "Steps": str(parameters["steps"]),
        "Sampler": sampler,
        **({"Schedule type": schedule} if schedule != a1111_samplers.AUTOMATIC else {}),
        "CFG scale": f"{parameters['guidance_scale']:g}",
        "Seed": str(parameters["seed"]),
        "Size": f"{parameters['width']}x{parameters['height']}",
        "Model hash": parameters["base_sha256"][:10],
        "Version": "zthumb",
    }
    loras = [(_prompt_name(PurePosixPath(lora["path"])), lora["weight"], lora["sha256"]) for lora in parameters["loras"]]
    return infotext.write(infotext.Parameters(parameters["prompt"], parameters["negative_prompt"] or "", values, loras))
