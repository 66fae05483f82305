"""Read prompts in the forms people keep them: one per line, a table, kohya's sample prompts, or a full protocol in YAML.

Supported are plain text (``# comment``) with kohya's options after a prompt (``--n``, ``--w``, ``--h``, ``--l``, ``--s``), CSV
and TSV with a column ``prompt``, kohya's JSON and TOML files of sample prompts, and our own YAML. In all but the last a prompt
that contains ``{trigger}`` or the trigger word shows the concept, and one without is a control.
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
from foundation.trigger import whole_word_pattern

TRIGGER_PLACEHOLDER = "{trigger}"
_YAML, _CSV, _JSON, _TOML = (".yaml", ".yml"), (".csv", ".tsv"), (".json",), (".toml",)
_OPTION = re.compile(r"\s--(?P<key>[A-Za-z]+)(?:\s+(?P<value>(?:(?!\s--[A-Za-z]).)*))?")
_KOHYA_OPTIONS = MappingProxyType(
    {"n": "negative_prompt", "w": "width", "h": "height", "l": "scale", "s": "sample_steps", "d": "seed", "g": "guidance_scale"}
)
_PROMPT_COLUMNS = ("prompt", "text", "caption", "positive")
_SETTINGS: Mapping[str, tuple[str, type]] = MappingProxyType(
    {
        **dict.fromkeys(("negative_prompt", "negative"), ("negative_prompt", str)),
        "width": ("width", int),
        "height": ("height", int),
        **dict.fromkeys(("cfg", "cfg_scale", "guidance_scale", "scale"), ("cfg", float)),
        **dict.fromkeys(("steps", "sample_steps", "num_inference_steps"), ("steps", int)),
    }
)
"""Name of a column or option → name and type of the protocol's setting."""


@dataclass(frozen=True)
class _Row:
    """A prompt, its settings, and the names of the columns or options that are ignored."""

    prompt: str
    settings: Mapping[str, Any]
    ignored: tuple[str, ...] = ()


def read_values(path: Path, trigger: str | None) -> tuple[Any, tuple[str, ...]]:
    """Read a prompts file; return the values of a protocol by key, and a clause for everything in the file that is ignored.

    Raises ``BadInput`` that names the line or prompt that is wrong, with the names that the file uses.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None
    if path.suffix.lower() in _YAML:
        return _parse_yaml(path, text), ()
    rows = list(_parse_rows(path, text))
    if not rows:
        raise BadInput(f"{path}: contains no prompt; write one per line.")
    return _protocol_values(path, rows, trigger), _ignored_clauses(rows)


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            raise BadInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
        line = (text.splitlines() or [""])[min(mark.line, len(text.splitlines()) - 1)].strip()
        raise BadInput(
            f"{path}, line {mark.line + 1}: not valid YAML: {line[:80]!r} contains characters with a meaning in YAML: a colon "
            "followed by a space, a bracket, a quote or a leading symbol. Put the prompt in quotes, or keep the prompts in a "
            ".txt file, one per line."
        ) from None


def _parse_rows(path: Path, text: str) -> Iterator[_Row]:
    suffix = path.suffix.lower()
    if suffix in _CSV:
        return _parse_table(path, text)
    if suffix in (*_JSON, *_TOML):
        return _parse_json_or_toml(path, text)
    return _parse_lines(path, text)


def _parse_lines(path: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield _parse_line(f"{path}, line {number}", stripped)


def _parse_line(location: str, line: str) -> _Row:
    """Parse a prompt with kohya's options after it."""
    values: dict[str, Any] = {}
    options = list(_OPTION.finditer(line))
    for option in options:
        name = _KOHYA_OPTIONS.get(option["key"].lower())
        if name is None:
            raise BadInput(f"{location}: --{option['key']} is not supported; --n, --w, --h, --l and --s are.")
        values[name] = (option["value"] or "").strip()
    prompt = line[: options[0].start()] if options else line
    option_names = {name: f"--{letter}" for letter, name in _KOHYA_OPTIONS.items()}
    return _make_row(location, {"prompt": prompt.strip(), **values}, option_names)


def _parse_table(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    columns = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not columns.intersection(_PROMPT_COLUMNS):
        raise BadInput(f"{path}: has no column named prompt; its columns are: {', '.join(sorted(columns)) or 'none'}.")
    for row in reader:
        values = {(name or "").strip().lower(): value for name, value in row.items() if isinstance(value, str)}
        if any((values.get(name) or "").strip() for name in _PROMPT_COLUMNS):
            yield _make_row(f"{path}, line {reader.line_num}", values)


def _parse_json_or_toml(path: Path, text: str) -> Iterator[_Row]:
    """Parse kohya's JSON, a list of prompts with their settings, or its TOML, which also has settings shared by all."""
    try:
        document = json.loads(text) if path.suffix.lower() in _JSON else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read ({error}).") from None
    shared: dict[str, Any] = {}
    if isinstance(document, dict) and isinstance(document.get("prompt"), dict):
        shared = {name: value for name, value in document["prompt"].items() if name != "subset"}
        document = document["prompt"].get("subset")
    if not isinstance(document, list):
        raise BadInput(
            f"{path}: contains no list of prompts. Write one per line in a .txt file, or a list in the format of kohya's "
            "sample_prompts."
        )
    for number, entry in enumerate(document, start=1):
        location = f"{path}, prompt {number}"
        values = {"prompt": entry} if isinstance(entry, str) else entry
        if not isinstance(values, dict) or not any(str(values.get(name) or "").strip() for name in _PROMPT_COLUMNS):
            raise BadInput(f"{location}: has no text named prompt.")
        yield _make_row(location, {**shared, **values})


def _make_row(location: str, values: Mapping[str, Any], option_names: Mapping[str, str] = MappingProxyType({})) -> _Row:
    """Return one prompt with its settings.

    ``option_names``: name → how the file writes it, for error messages, if that is not the name itself.
    """
    column = next(name for name in _PROMPT_COLUMNS if str(values.get(name) or "").strip())
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _SETTINGS or value in (None, ""):
            continue
        setting, kind = _SETTINGS[name]
        try:
            # Through str, so that a fraction is refused and not truncated to an integer.
            settings[setting] = kind(str(value)) if kind is int else kind(value)
        except (ValueError, TypeError):
            raise BadInput(f"{location}: {option_names.get(name, name)} {value!r} is not a valid number.") from None
    ignored = tuple(name for name, value in values.items() if name and name != column and name not in _SETTINGS and value)
    return _Row(str(values[column]).strip(), settings, ignored)


def _ignored_clauses(rows: list[_Row]) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.ignored)
    clauses = {"seed": "seed is ignored: the protocol uses the same seeds for every prompt"}
    return tuple(clauses.get(name, f"{name} is ignored") for name in names)


def _protocol_values(path: Path, rows: list[_Row], trigger: str | None) -> dict[str, Any]:
    """Return the strata of the prompts, and the settings that they share."""
    pattern = whole_word_pattern([trigger]) if trigger else None
    prompts = list(dict.fromkeys(row.prompt if pattern is None else pattern.sub(TRIGGER_PLACEHOLDER, row.prompt) for row in rows))
    trained = [prompt for prompt in prompts if TRIGGER_PLACEHOLDER in prompt]
    if not trained:
        raise BadInput(f"{path}: no prompt contains {TRIGGER_PLACEHOLDER} or the trigger word, so none would show the concept.")
    settings = rows[0].settings
    if different := next((row.prompt for row in rows if row.settings != settings), None):
        raise BadInput(f"{path}: {different[:60]!r} has other options than the first prompt; give all prompts the same options.")
    return {"trained": trained, "control": [prompt for prompt in prompts if TRIGGER_PLACEHOLDER not in prompt], **settings}
