"""Images as files, with what they were made from inside: as JSON of this server's own, and as A1111 writes it."""

import io
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from zthumb.a1111 import infotext, samplers
from zthumb.adapters import library
from zthumb.server.settings import OutputFormat

if TYPE_CHECKING:
    from PIL import Image

PARAMETERS = "zthumb"
"""The PNG text chunk that holds them, as JSON."""

_LONGEST_COMMENT = 65_000


def encoded(image: "Image.Image", output_format: OutputFormat, parameters: Mapping[str, Any]) -> bytes:
    """An image as a file that carries its ``parameters``: a PNG in text chunks, others in the EXIF block's user comment."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    told = _infotext(parameters) if parameters else ""
    if output_format == "png":
        chunks = PngInfo()
        chunks.add_text(PARAMETERS, json.dumps(parameters, sort_keys=True))
        if told:
            # Latin-1 goes into a plain chunk, all else into an international one, as Pillow chooses by itself.
            chunks.add_text(infotext.CHUNK, told)
        image.save(buffer, format="png", pnginfo=chunks)
    else:
        exif = Image.Exif()
        # What no segment of a JPEG holds stays out of it: prompts of many thousand characters.
        told = told if len(told.encode("utf-16-be")) <= _LONGEST_COMMENT else ""
        exif.get_ifd(infotext.EXIF_BLOCK)[infotext.USER_COMMENT] = b"UNICODE\0" + told.encode("utf-16-be")
        image.save(buffer, format=output_format, quality=95, **({"exif": exif} if told else {}))
    return buffer.getvalue()


def _called(path: PurePosixPath) -> str:
    """What a prompt calls an adapter: its file's name, or its folder where every file is called alike."""
    return path.parent.relative_to(library.FOLDER).as_posix() if path.name in library.OF_THEIR_FOLDER else path.stem


def _infotext(parameters: Mapping[str, Any]) -> str:
    sampler, schedule = samplers.shown(parameters["scheduler"])
    values = {
        "Steps": str(parameters["steps"]),
        "Sampler": sampler,
        **({"Schedule type": schedule} if schedule != samplers.AUTOMATIC else {}),
        "CFG scale": f"{parameters['guidance_scale']:g}",
        "Seed": str(parameters["seed"]),
        "Size": f"{parameters['width']}x{parameters['height']}",
        "Model hash": parameters["base_sha256"][:10],
        "Version": "zthumb",
    }
    loras = [(_called(PurePosixPath(lora["path"])), lora["weight"], lora["sha256"]) for lora in parameters["loras"]]
    return infotext.write(infotext.Parameters(parameters["prompt"], parameters["negative_prompt"] or "", values, loras))
