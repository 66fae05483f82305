"""``<lora:name:0.8>`` in a prompt, as A1111, Forge and Civitai write it: an adapter and its weight, not part of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zthumb.generation.prompts.base import Malformed

_TAG = re.compile(r"<\s*(?P<kind>lora|lyco|hypernet|hypernetwork)\s*:(?P<rest>[^<>]*)>", re.IGNORECASE)
_SPACES = re.compile(r" {2,}")
_WEIGHT_KEYS = ("te", "unet")


@dataclass(frozen=True)
class LoraTag:
    """An adapter that a prompt names, and its weight; ``place`` is the index of the tag's first character, from 0."""

    name: str
    weight: float
    place: int


def extract(text: str) -> tuple[str, tuple[LoraTag, ...]]:
    """Return ``text`` without its tags, and the adapters that the tags name.

    ``<lyco:…>`` means the same. Raises ``Malformed`` for a hypernetwork, for a tag without a name, for a weight that is not a
    number, and for weights that differ between denoiser and text encoders, which are not supported.
    """
    tags = tuple(_parse_tag(match) for match in _TAG.finditer(text))
    return (_SPACES.sub(" ", _TAG.sub("", text)).strip() if tags else text), tags


def _parse_tag(match: re.Match[str]) -> LoraTag:
    if match["kind"].lower().startswith("hypernet"):
        raise Malformed(match.start(), f"{match[0]!r} is a hypernetwork, which is not supported; remove it")
    name, *values = (part.strip() for part in match["rest"].split(":"))
    if not name:
        raise Malformed(match.start(), f"{match[0]!r} names no adapter; write <lora:name:weight>")
    keys = {key for value in values if (key := value.partition("=")[0].strip().lower()) in _WEIGHT_KEYS and "=" in value}
    weights = dict.fromkeys(_number(value, match) for value in values if _is_weight(value, match))
    if len(weights) == 1 and len(keys) == 1 and len(values) == 1:
        # Only te or unet is given, so the other one keeps its default weight of 1.
        weights[1.0] = None
    if len(weights) > 1:
        raise Malformed(match.start(), f"{match[0]!r} has several weights; only one for the whole adapter is supported")
    return LoraTag(name, next(iter(weights), 1.0), match.start())


def _is_weight(value: str, match: re.Match[str]) -> bool:
    """Return whether a value of a tag is a weight; of values with a key only those of te and unet are."""
    key, equals, _ = value.partition("=")
    if equals and key.strip().lower() not in _WEIGHT_KEYS:
        raise Malformed(match.start(), f"{match[0]!r} has {key.strip()!r}, which is not supported; write <lora:name:weight>")
    return bool(value)


def _number(value: str, match: re.Match[str]) -> float:
    try:
        return float(value.partition("=")[2] or value)
    except ValueError:
        raise Malformed(match.start(), f"{value!r} in {match[0]!r} is not a weight; write <lora:name:0.8>") from None
