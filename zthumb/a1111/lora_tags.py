"""``<lora:name:0.8>`` in a prompt, as A1111, Forge and Civitai write it: an adapter and its weight, and no words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zthumb.prompts.base import Malformed

_TAG = re.compile(r"<\s*(?P<kind>lora|lyco|hypernet|hypernetwork)\s*:(?P<rest>[^<>]*)>", re.IGNORECASE)
_BLANKS = re.compile(r" {2,}")
_NAMED_WEIGHTS = ("te", "unet")


@dataclass(frozen=True)
class LoraTag:
    """An adapter that a prompt names, and how strongly; ``place`` is the character that the tag begins at, from 0."""

    name: str
    weight: float
    place: int


def extract(text: str) -> tuple[str, tuple[LoraTag, ...]]:
    """``text`` without its tags, and the adapters they name.

    ``<lyco:…>`` means the same. Raises ``Malformed`` for a hypernetwork, for a tag without a name, for a weight that is no number
    and for weights that differ between denoiser and text encoders, which are not read here.
    """
    tags = tuple(_tag(found) for found in _TAG.finditer(text))
    return (_BLANKS.sub(" ", _TAG.sub("", text)).strip() if tags else text), tags


def _tag(found: re.Match[str]) -> LoraTag:
    if found["kind"].lower().startswith("hypernet"):
        raise Malformed(found.start(), f"{found[0]!r} is a hypernetwork, which is not read here; take it out")
    name, *values = (part.strip() for part in found["rest"].split(":"))
    if not name:
        raise Malformed(found.start(), f"{found[0]!r} names no adapter; write <lora:name:weight>")
    named = {key for value in values if (key := value.partition("=")[0].strip().lower()) in _NAMED_WEIGHTS and "=" in value}
    weights = dict.fromkeys(_number(value, found) for value in values if _is_weight(value, found))
    if len(weights) == 1 and len(named) == 1 and len(values) == 1:
        # The other part has a weight of its own, which nobody has changed.
        weights[1.0] = None
    if len(weights) > 1:
        raise Malformed(found.start(), f"{found[0]!r} has several weights; one for all parts of the adapter is read here")
    return LoraTag(name, next(iter(weights), 1.0), found.start())


def _is_weight(value: str, found: re.Match[str]) -> bool:
    """Whether a value of a tag is a weight; of those with a name only two are."""
    key, equals, _ = value.partition("=")
    if equals and key.strip().lower() not in _NAMED_WEIGHTS:
        raise Malformed(found.start(), f"{found[0]!r} has {key.strip()!r}, which is not read here; write <lora:name:weight>")
    return bool(value)


def _number(value: str, found: re.Match[str]) -> float:
    try:
        return float(value.partition("=")[2] or value)
    except ValueError:
        raise Malformed(found.start(), f"{value!r} in {found[0]!r} is no weight; write <lora:name:0.8>") from None
