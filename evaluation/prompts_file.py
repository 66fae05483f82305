"""Prompts as people keep them: a line each, a table, what kohya samples by, or a protocol with everything in YAML.

Read are plain text (``# comment``) with kohya's options behind a prompt (``--n``, ``--w``, ``--h``, ``--l``, ``--s``), CSV and
TSV with a column ``prompt``, kohya's JSON and TOML files of sample prompts, and our own YAML. In all but the last a prompt with
``{trigger}`` or the trigger word in it shows the concept, and one without is a control.
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from foundation.errors import BadInput
from foundation.trigger import standing_alone

TRIGGER = "{trigger}"
_YAML, _CSV, _JSON, _TOML = (".yaml", ".yml"), (".csv", ".tsv"), (".json",), (".toml",)
_OPTION = re.compile(r"\s--(?P<key>[A-Za-z]+)(?:\s+(?P<value>(?:(?!\s--[A-Za-z]).)*))?")
_BY_LETTER = MappingProxyType(
    {"n": "negative_prompt", "w": "width", "h": "height", "l": "scale", "s": "sample_steps", "d": "seed", "g": "guidance_scale"}
)
_PROMPT = ("prompt", "text", "caption", "positive")
_SETTINGS: Mapping[str, tuple[str, type]] = MappingProxyType(
    {
        **dict.fromkeys(("negative_prompt", "negative"), ("negative_prompt", str)),
        "width": ("width", int),
        "height": ("height", int),
        **dict.fromkeys(("cfg", "cfg_scale", "guidance_scale", "scale"), ("cfg", float)),
        **dict.fromkeys(("steps", "sample_steps", "num_inference_steps"), ("steps", int)),
    }
)
"""A column's or option's name → the protocol's setting and its type."""


@dataclass(frozen=True)
class _Row:
    """A prompt, the settings it is asked for with, and the names of what is said besides."""

    prompt: str
    settings: Mapping[str, Any]
    left: tuple[str, ...] = ()


def read_values(path: Path, trigger: str | None) -> tuple[Any, tuple[str, ...]]:
    """What a prompts file says, as the keys of a protocol, and what of it is not followed, a clause each.

    ``BadInput`` names the line that is wrong, in words of this file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None
    if path.suffix.lower() in _YAML:
        return _of_yaml(path, text), ()
    rows = list(_rows(path, text))
    if not rows:
        raise BadInput(f"{path}: no prompt is in it; write one a line.")
    return _as_protocol(path, rows, trigger), _not_followed(rows)


def _of_yaml(path: Path, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            raise BadInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
        line = (text.splitlines() or [""])[min(mark.line, len(text.splitlines()) - 1)].strip()
        raise BadInput(
            f"{path}, line {mark.line + 1}: not valid YAML: {line[:80]!r} means something else there than it says: a colon with "
            "a blank behind it, a bracket, a quote or a sign at the beginning. Put the prompt in quotes, or keep prompts in a "
            ".txt file, one a line."
        ) from None


def _rows(path: Path, text: str) -> Iterator[_Row]:
    ending = path.suffix.lower()
    if ending in _CSV:
        return _of_table(path, text)
    if ending in (*_JSON, *_TOML):
        return _of_values(path, text)
    return _of_lines(path, text)


def _of_lines(path: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield _with_options(f"{path}, line {number}", bare)


def _with_options(where: str, line: str) -> _Row:
    """A prompt with kohya's options behind it."""
    told: dict[str, Any] = {}
    options = list(_OPTION.finditer(line))
    for found in options:
        name = _BY_LETTER.get(found["key"].lower())
        if name is None:
            raise BadInput(f"{where}: --{found['key']} is not read; --n, --w, --h, --l and --s are.")
        told[name] = (found["value"] or "").strip()
    prompt = line[: options[0].start()] if options else line
    return _row(where, {"prompt": prompt.strip(), **told}, {name: f"--{letter}" for letter, name in _BY_LETTER.items()})


def _of_table(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not names.intersection(_PROMPT):
        raise BadInput(f"{path}: no column is called prompt; there are {', '.join(sorted(names)) or 'none'}.")
    for row in reader:
        values = {(name or "").strip().lower(): value for name, value in row.items() if isinstance(value, str)}
        if any((values.get(name) or "").strip() for name in _PROMPT):
            yield _row(f"{path}, line {reader.line_num}", values)


def _of_values(path: Path, text: str) -> Iterator[_Row]:
    """Kohya's JSON, a list of prompts with their settings, or its TOML, which has settings of all beside them."""
    try:
        whole = json.loads(text) if path.suffix.lower() in _JSON else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read ({error}).") from None
    shared: dict[str, Any] = {}
    if isinstance(whole, dict) and isinstance(whole.get("prompt"), dict):
        shared = {name: value for name, value in whole["prompt"].items() if name != "subset"}
        whole = whole["prompt"].get("subset")
    if not isinstance(whole, list):
        raise BadInput(
            f"{path}: no list of prompts. Write one a line in a .txt file, or a list as kohya's sample_prompts has it."
        )
    for number, each in enumerate(whole, start=1):
        where = f"{path}, prompt {number}"
        values = {"prompt": each} if isinstance(each, str) else each
        if not isinstance(values, dict) or not any(str(values.get(name) or "").strip() for name in _PROMPT):
            raise BadInput(f"{where}: no text is called prompt.")
        yield _row(where, {**shared, **values})


def _row(where: str, values: Mapping[str, Any], called: Mapping[str, str] = MappingProxyType({})) -> _Row:
    """One prompt with what stands beside it; ``called``: how the file writes a name, where it is not written out."""
    column = next(name for name in _PROMPT if str(values.get(name) or "").strip())
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _SETTINGS or value in (None, ""):
            continue
        setting, kind = _SETTINGS[name]
        try:
            # A whole number is not made of one that is none.
            settings[setting] = kind(str(value)) if kind is int else kind(value)
        except (ValueError, TypeError):
            raise BadInput(f"{where}: {called.get(name, name)} {value!r} is no number.") from None
    left = tuple(name for name, value in values.items() if name and name != column and name not in _SETTINGS and value)
    return _Row(str(values[column]).strip(), settings, left)


def _not_followed(rows: list[_Row]) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.left)
    told = {"seed": "seed is not followed: the protocol asks for every prompt at the same seeds"}
    return tuple(told.get(name, f"{name} is not followed") for name in names)


def _as_protocol(path: Path, rows: list[_Row], trigger: str | None) -> dict[str, Any]:
    """The strata of the prompts, and the settings that all of them have."""
    word = standing_alone([trigger]) if trigger else None
    prompts = list(dict.fromkeys(row.prompt if word is None else word.sub(TRIGGER, row.prompt) for row in rows))
    trained = [prompt for prompt in prompts if TRIGGER in prompt]
    if not trained:
        raise BadInput(f"{path}: no prompt has {TRIGGER} or the trigger word in it, so that none would show the concept.")
    settings = rows[0].settings
    if other := next((row.prompt for row in rows if row.settings != settings), None):
        raise BadInput(f"{path}: {other[:60]!r} is asked for with other options than the first prompt; one protocol has one set.")
    return {"trained": trained, "control": [prompt for prompt in prompts if TRIGGER not in prompt], **settings}
