"""The parameters of an image in A1111's text format, which Civitai and most viewers read.

The prompt, then ``Negative prompt:``, then one line of comma-separated ``Key: value`` pairs that begins with ``Steps:``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXIF_BLOCK, USER_COMMENT = 0x8769, 0x9286
"""EXIF tags of the text in files without text chunks (CIPA DC-008)."""

CHUNK = "parameters"
"""Name of the PNG text chunk that holds the text."""

_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\w[\w \-/+.]*")
_QUOTED = re.compile(r'\s*("(?:\\.|[^"\\])*")\s*(?:,|$)')
_LAST_LINE = re.compile(r"^\s*Steps:\s*\d+")


@dataclass(frozen=True)
class Parameters:
    """The parameters of an image, by A1111's keys; ``loras`` are names, weights and hashes (SHA-256) of adapters."""

    prompt: str
    negative_prompt: str
    values: Mapping[str, str]
    loras: Sequence[tuple[str, float, str]] = ()


def write(parameters: Parameters) -> str:
    """Return the text; adapters become tags after the prompt and a list of hashes, as in A1111."""
    tags = [f"<lora:{name}:{weight:g}>" for name, weight, _ in parameters.loras]
    lines = [" ".join([parameters.prompt, *tags])]
    if parameters.negative_prompt:
        lines.append(f"{_NEGATIVE} {parameters.negative_prompt}")
    values = dict(parameters.values)
    if parameters.loras:
        # Civitai looks adapters up by the first twelve digits.
        values["Lora hashes"] = ", ".join(f"{name}: {sha256[:12]}" for name, _, sha256 in parameters.loras)
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in values.items()))
    return "\n".join(lines)


def read(text: str) -> dict[str, Any] | None:
    """Return prompt, negative prompt and the other values by A1111's own keys; None where the text has another format."""
    *prompt_lines, last = text.strip().split("\n")
    if not _LAST_LINE.match(last):
        return None
    prompts: dict[str, list[str]] = {"prompt": [], "negative_prompt": []}
    kind = "prompt"
    for line in prompt_lines:
        if line.startswith(_NEGATIVE):
            kind, line = "negative_prompt", line.removeprefix(_NEGATIVE).strip()
        prompts[kind].append(line)
    values = {key: _unquote(value) for key, value in _pairs(last)}
    return {**{name: "\n".join(lines).strip() for name, lines in prompts.items()}, **values}


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a line, in one pass over it, because it is untrusted input of any length."""
    position = 0
    while (colon := line.find(":", position)) != -1:
        key = line[position:colon].rpartition(",")[2].strip()
        quoted = _QUOTED.match(line, colon + 1)
        comma = line.find(",", colon)
        end = quoted.end(1) if quoted else comma if comma != -1 else len(line)
        if _KEY.fullmatch(key):
            yield key, line[colon + 1 : end].strip()
        position = end


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value.strip('"')
