"""Reads the generation parameters inside an image, whichever program wrote them."""

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
from foundation.image_reader import is_png, without_pixels
from zthumb.generation.grammar.lora_tags import extract
from zthumb.generation.prompts.base import Malformed
from zthumb.server.storage import a1111_samplers, infotext
from zthumb.server.storage.comfyui_graph import parameters_of_graph
from zthumb.server.storage.image_encoder import PARAMETERS_CHUNK

_FORMATS = ("PNG", "JPEG", "WEBP")
_USER_COMMENT_ENCODINGS = {
    b"UNICODE\0": "utf-16",
    b"ASCII\0\0\0": "utf-8",
    b"\0\0\0\0\0\0\0\0": "utf-8",
}
_SIZE = re.compile(r"\(?\s*(\d{1,6})\s*[x×,]\s*(\d{1,6})\s*\)?")


@dataclass(frozen=True)
class ImageParameters:
    """The ``program`` that wrote an image, and its ``parameters``.

    A parameter that has a field in a request has the name of that field, others keep the program's name.
    """

    program: str
    parameters: dict[str, Any]


def read_parameters(data: bytes) -> ImageParameters:
    """Return the parameters in an image file (PNG, JPEG, WebP); ``BadInput`` if it is not an image or has none."""
    texts = read_texts(data)
    for program, chunk, parse in _PARSERS:
        if (text := texts.get(chunk)) and (parameters := parse(text)):
            return ImageParameters(program, parameters)
    raise BadInput("this image carries no parameters of a known program.")


def decode_base64_image(image: object) -> bytes:
    """Return the file in a base64 string or data URL; ``BadInput`` if it is neither."""
    if not isinstance(image, str):
        raise BadInput("image: give the file as base64, or as a data URL.")
    try:
        return base64.b64decode(image.rpartition("base64,")[2], validate=True)
    except ValueError:
        raise BadInput("image: is not base64.") from None


def read_texts(data: bytes) -> dict[str, str]:
    """Return the texts in an image file by chunk name; the user comment of a JPEG or WebP has the name of A1111's chunk."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Texts may come after the pixel data, which is not needed here.
        file = without_pixels(data) if is_png(data) else data
        with Image.open(io.BytesIO(file), formats=_FORMATS) as image:
            texts = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
            if isinstance(xmp := image.info.get("xmp"), bytes):
                texts.setdefault(_XMP, xmp.decode("utf-8", "replace"))
            # image.getexif() would decode the pixels of a PNG.
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")
            comment = exif.get_ifd(infotext.EXIF_BLOCK).get(infotext.USER_COMMENT)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadInput("the body is not a readable image (PNG, JPEG or WebP).") from None
    if isinstance(comment, (bytes, str)) and comment and infotext.CHUNK not in texts:
        texts[infotext.CHUNK] = _decode_user_comment(comment)
    return texts


def _decode_user_comment(comment: bytes | str) -> str:
    """Decode EXIF's user comment, whose first eight bytes name the character code (CIPA DC-008, 4.6.5)."""
    if isinstance(comment, str):
        return comment
    encoding = _USER_COMMENT_ENCODINGS.get(comment[:8])
    if encoding == "utf-16":
        # A1111 writes big-endian bytes without a byte order mark.
        encoding = "utf-16" if comment[8:10] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be"
    return (comment[8:] if encoding else comment).decode(encoding or "utf-8", "replace")


def _parse_zthumb(text: str) -> dict[str, Any] | None:
    return _parse_object(text)


def _parse_a1111(text: str) -> dict[str, Any] | None:
    fields = infotext.read(text)
    if fields is None:
        return None
    parameters = _renamed(fields, {"Steps": "steps", "CFG scale": "cfg", "Seed": "seed", "Model": "model"})
    parameters.update(_parse_size(parameters.pop("Size", "")))
    parameters.update(_scheduler(parameters.pop("Sampler", None), parameters.pop("Schedule type", None)))
    try:
        parameters["prompt"], tags = extract(parameters["prompt"])
    except Malformed:
        return parameters
    return {**parameters, "loras": [{"id": tag.name, "weight": tag.weight} for tag in tags]} if tags else parameters


def _parse_fooocus(text: str) -> dict[str, Any] | None:
    fields = _parse_object(text)
    if fields is None or "prompt" not in fields or "base_model" not in fields:
        return None
    parameters = _renamed(fields, {"guidance_scale": "cfg", "base_model": "model"})
    return {**parameters, **_parse_size(str(parameters.pop("resolution", "")))}


def _parse_swarmui(text: str) -> dict[str, Any] | None:
    fields = (_parse_object(text) or {}).get("sui_image_params")
    names = {"negativeprompt": "negative_prompt", "cfgscale": "cfg"}
    return _renamed(fields, names) if isinstance(fields, dict) else None


def _parse_invokeai(text: str) -> dict[str, Any] | None:
    fields = _parse_object(text)
    if fields is None:
        return None
    parameters = _renamed(fields, {"positive_prompt": "prompt", "cfg_scale": "cfg"})
    if isinstance(model := parameters.get("model"), dict):
        parameters["model"] = model.get("name") or model.get("model_name")
    return parameters


def _parse_invokeai_2(text: str) -> dict[str, Any] | None:
    """Parse the metadata of InvokeAI before 3: an object with the image's values in ``image``, whose prompt is a list."""
    fields = (_parse_object(text) or {}).get("image")
    if not isinstance(fields, dict):
        return None
    parameters = _renamed(fields, {"cfg_scale": "cfg"})
    prompt = parameters.get("prompt")
    if isinstance(prompt, list):
        parameters["prompt"] = ", ".join(str(part.get("prompt", "")) for part in prompt if isinstance(part, dict))
    return parameters


def _parse_draw_things(text: str) -> dict[str, Any] | None:
    """Parse Draw Things' metadata: a JSON object in the user comment of the XMP block."""
    *_, after_tag = text.partition("<exif:UserComment>")
    *_, after_tag = after_tag.partition("<rdf:li")
    comment, end_tag, _ = after_tag.partition(">")[2].partition("</rdf:li>")
    fields = _parse_object(html.unescape(comment)) if end_tag else None
    if fields is None or "c" not in fields:
        return None
    parameters = _renamed(fields, {"c": "prompt", "uc": "negative_prompt", "scale": "cfg"})
    return {**parameters, **_parse_size(str(parameters.pop("size", "")))}


def _parse_comfyui(text: str) -> dict[str, Any] | None:
    graph = _parse_object(text)
    return parameters_of_graph(graph) if graph else None


_XMP = "XML:com.adobe.xmp"
_PARSERS: tuple[tuple[str, str, Callable[[str], dict[str, Any] | None]], ...] = (
    ("zthumb", PARAMETERS_CHUNK, _parse_zthumb),
    ("swarmui", infotext.CHUNK, _parse_swarmui),
    ("fooocus", infotext.CHUNK, _parse_fooocus),
    ("a1111", infotext.CHUNK, _parse_a1111),
    ("invokeai", "invokeai_metadata", _parse_invokeai),
    ("invokeai", "sd-metadata", _parse_invokeai_2),
    ("draw things", _XMP, _parse_draw_things),
    ("comfyui", "prompt", _parse_comfyui),
)
"""Program, chunk name and parser, the most specific first."""

_NUMBERS: Mapping[str, Callable[[Any], Any]] = {
    "steps": int,
    "seed": int,
    "width": int,
    "height": int,
    "cfg": float,
    "true_cfg_scale": float,
    "step_cache": int,
}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return ``values`` under the names of a request's fields; numbers are converted where that is possible."""
    parameters: dict[str, Any] = {}
    for name, value in values.items():
        key = names.get(name, name)
        try:
            parameters[key] = _NUMBERS[key](value) if key in _NUMBERS and value is not None else value
        except (TypeError, ValueError, OverflowError):
            parameters[key] = value
    return parameters


def _parse_size(text: str) -> dict[str, int]:
    match = _SIZE.fullmatch(text.strip())
    return {"width": int(match[1]), "height": int(match[2])} if match else {}


def _scheduler(sampler: str | None, schedule: str | None) -> dict[str, str]:
    """Return this server's scheduler for A1111's names, or the names as they are if it has no such scheduler."""
    try:
        name = a1111_samplers.scheduler_of(sampler, schedule)
    except BadInput:
        return {"sampler": f"{sampler} {schedule}" if schedule else str(sampler)}
    return {"scheduler": name} if name else {}


def _parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, or None."""
    try:
        # ComfyUI writes NaN and infinity, which are not valid in a JSON response.
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
