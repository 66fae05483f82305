"""What an image says it was made from, whichever program wrote it."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from foundation.errors import BadInput
from foundation.images import is_png, without_pixels
from zthumb.a1111 import infotext, samplers
from zthumb.a1111.lora_tags import extract
from zthumb.prompts.base import Malformed
from zthumb.server.comfyui_graph import parameters_of_graph
from zthumb.server.files import PARAMETERS

_FORMATS = ("PNG", "JPEG", "WEBP")
_CODINGS = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"\0\0\0\0\0\0\0\0": "utf-8"}
_SIZE = re.compile(r"\(?\s*(\d{1,6})\s*[x×,]\s*(\d{1,6})\s*\)?")


@dataclass(frozen=True)
class Inspected:
    """``program`` wrote the image; ``parameters`` are called as those of a request, others as the program calls them."""

    program: str
    parameters: dict[str, Any]


def parameters_of(data: bytes) -> Inspected:
    """What an image (PNG, JPEG, WebP) was made from; ``BadInput`` where it is none, or does not say."""
    texts = texts_of(data)
    for program, chunk, read in _READERS:
        if (text := texts.get(chunk)) and (found := read(text)):
            return Inspected(program, found)
    raise BadInput("this image carries no parameters of a program that is known here.")


def image_of_base64(image: object) -> bytes:
    """The file in base64 or in a data URL; ``BadInput`` where it is neither."""
    if not isinstance(image, str):
        raise BadInput("image: give the file as base64, or as a data URL.")
    try:
        return base64.b64decode(image.rpartition("base64,")[2], validate=True)
    except ValueError:
        raise BadInput("image: is no base64.") from None


def texts_of(data: bytes) -> dict[str, str]:
    """The texts in an image by the names of their chunks; what a JPEG or a WebP says stands under A1111's."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Texts may stand behind the pixels, which nobody needs here.
        bare = without_pixels(data) if is_png(data) else data
        with Image.open(io.BytesIO(bare), formats=_FORMATS) as image:
            texts = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
            if isinstance(xmp := image.info.get("xmp"), bytes):
                texts.setdefault(_XMP, xmp.decode("utf-8", "replace"))
            # Pillow's own way to the block would decode the pixels of a PNG.
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")
            comment = exif.get_ifd(infotext.EXIF_BLOCK).get(infotext.USER_COMMENT)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadInput("the body is no image that can be read (PNG, JPEG or WebP).") from None
    if isinstance(comment, (bytes, str)) and comment and infotext.CHUNK not in texts:
        texts[infotext.CHUNK] = _decoded(comment)
    return texts


def _decoded(comment: bytes | str) -> str:
    """EXIF's user comment: eight bytes say how the rest is written (CIPA DC-008, 4.6.5)."""
    if isinstance(comment, str):
        return comment
    coding = _CODINGS.get(comment[:8])
    if coding == "utf-16":
        # A1111 writes the bytes in big request without a mark.
        coding = "utf-16" if comment[8:10] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be"
    return (comment[8:] if coding else comment).decode(coding or "utf-8", "replace")


def _own(text: str) -> dict[str, Any] | None:
    return _object(text)


def _a1111(text: str) -> dict[str, Any] | None:
    read = infotext.read(text)
    if read is None:
        return None
    found = _renamed(read, {"Steps": "steps", "CFG scale": "cfg", "Seed": "seed", "Model": "model"})
    found.update(_size(found.pop("Size", "")))
    found.update(_sampler(found.pop("Sampler", None), found.pop("Schedule type", None)))
    try:
        found["prompt"], tags = extract(found["prompt"])
    except Malformed:
        return found
    return {**found, "loras": [{"id": tag.name, "weight": tag.weight} for tag in tags]} if tags else found


def _fooocus(text: str) -> dict[str, Any] | None:
    read = _object(text)
    if read is None or "prompt" not in read or "base_model" not in read:
        return None
    found = _renamed(read, {"guidance_scale": "cfg", "base_model": "model"})
    return {**found, **_size(str(found.pop("resolution", "")))}


def _swarmui(text: str) -> dict[str, Any] | None:
    read = (_object(text) or {}).get("sui_image_params")
    names = {"negativeprompt": "negative_prompt", "cfgscale": "cfg"}
    return _renamed(read, names) if isinstance(read, dict) else None


def _invokeai(text: str) -> dict[str, Any] | None:
    read = _object(text)
    if read is None:
        return None
    found = _renamed(read, {"positive_prompt": "prompt", "cfg_scale": "cfg"})
    if isinstance(model := found.get("model"), dict):
        found["model"] = model.get("name") or model.get("model_name")
    return found


def _invokeai_2(text: str) -> dict[str, Any] | None:
    """InvokeAI before 3: an object with the image's values in ``image``, whose prompt is a list."""
    image = (_object(text) or {}).get("image")
    if not isinstance(image, dict):
        return None
    found = _renamed(image, {"cfg_scale": "cfg"})
    prompt = found.get("prompt")
    if isinstance(prompt, list):
        found["prompt"] = ", ".join(str(part.get("prompt", "")) for part in prompt if isinstance(part, dict))
    return found


def _draw_things(text: str) -> dict[str, Any] | None:
    """Draw Things keeps an object in the user comment of its XMP block."""
    *_, behind = text.partition("<exif:UserComment>")
    *_, behind = behind.partition("<rdf:li")
    comment, end, _ = behind.partition(">")[2].partition("</rdf:li>")
    read = _object(html.unescape(comment)) if end else None
    if read is None or "c" not in read:
        return None
    found = _renamed(read, {"c": "prompt", "uc": "negative_prompt", "scale": "cfg"})
    return {**found, **_size(str(found.pop("size", "")))}


def _comfyui(text: str) -> dict[str, Any] | None:
    read = _object(text)
    return parameters_of_graph(read) if read else None


_XMP = "XML:com.adobe.xmp"
_READERS: tuple[tuple[str, str, Callable[[str], dict[str, Any] | None]], ...] = (
    ("zthumb", PARAMETERS, _own),
    ("swarmui", infotext.CHUNK, _swarmui),
    ("fooocus", infotext.CHUNK, _fooocus),
    ("a1111", infotext.CHUNK, _a1111),
    ("invokeai", "invokeai_metadata", _invokeai),
    ("invokeai", "sd-metadata", _invokeai_2),
    ("draw things", _XMP, _draw_things),
    ("comfyui", "prompt", _comfyui),
)
"""Program, chunk and reader, the surest first."""

_NUMBERS: Mapping[str, Callable[[Any], Any]] = {"steps": int, "seed": int, "width": int, "height": int, "cfg": float}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """``values`` under the names of a request's fields, numbers as such where they are some."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = names.get(name, name)
        try:
            found[key] = _NUMBERS[key](value) if key in _NUMBERS and value is not None else value
        except (TypeError, ValueError, OverflowError):
            found[key] = value
    return found


def _size(text: str) -> dict[str, int]:
    found = _SIZE.fullmatch(text.strip())
    return {"width": int(found[1]), "height": int(found[2])} if found else {}


def _sampler(sampler: str | None, schedule: str | None) -> dict[str, str]:
    """The scheduler here that is meant, or the names as they stand where there is none."""
    try:
        name = samplers.scheduler_of(sampler, schedule)
    except BadInput:
        return {"sampler": f"{sampler} {schedule}" if schedule else str(sampler)}
    return {"scheduler": name} if name else {}


def _object(text: str) -> dict[str, Any] | None:
    try:
        # NaN and infinity, which ComfyUI writes, are no JSON that could be answered.
        found = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
