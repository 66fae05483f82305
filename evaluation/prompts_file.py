"""Prompts as people keep them: a line each, a table, or a protocol with everything in YAML.

Read are plain text (``# comment``), CSV with a column ``prompt``, what kohya takes as ``--sample_prompts`` (``--n``, ``--w``,
``--h``, ``--d``, ``--l`` and ``--s`` behind each prompt), and our own YAML. In all but the last a prompt with ``{trigger}`` or
the trigger word in it shows the concept, and one without is a control.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from foundation.errors import BadInput
from foundation.trigger import standing_alone

TRIGGER = "{trigger}"
_YAML, _CSV = (".yaml", ".yml"), (".csv", ".tsv")
_OPTION = re.compile(r"\s--(?P<key>[a-z]+)\s+(?P<value>(?:(?!\s--[a-z]+\s).)*)")
_OPTIONS: Mapping[str, tuple[str, Any]] = {
    "n": ("negative_prompt", str), "w": ("width", int), "h": ("height", int), "l": ("cfg", float), "s": ("steps", int),
}  # fmt: skip
_PASSED_OVER = ("d", "i", "cn", "ctr")
"""A seed of its own for each prompt, and images to begin from: the protocol has seeds for all."""

_COLUMNS = ("prompt", "text", "caption", "positive")


def read_values(path: Path, trigger: str | None) -> Any:
    """What a prompts file says, as the keys of a protocol; ``BadInput`` names the line that is wrong, in words of this file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None
    if path.suffix.lower() in _YAML:
        return _of_yaml(path, text)
    rows = list(_of_table(path, text)) if path.suffix.lower() in _CSV else list(_of_lines(path, text))
    if not rows:
        raise BadInput(f"{path}: no prompt is in it; write one a line.")
    return _as_protocol(path, rows, trigger)


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


def _of_lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield _with_options(f"{path}, line {number}", bare)


def _of_table(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=separator)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    column = next((names[name] for name in _COLUMNS if name in names), None)
    if column is None:
        raise BadInput(f"{path}: no column is called prompt; there are {', '.join(names) or 'none'}.")
    for row in reader:
        if prompt := (row.get(column) or "").strip():
            yield prompt, {}


def _with_options(where: str, line: str) -> tuple[str, dict[str, Any]]:
    """A prompt, and what kohya's options behind it say of all: those that differ from prompt to prompt are not taken."""
    options: dict[str, Any] = {}
    for found in _OPTION.finditer(line):
        key, value = found["key"], found["value"].strip()
        if key in _PASSED_OVER:
            continue
        if key not in _OPTIONS:
            raise BadInput(f"{where}: --{key} is not read; --n, --w, --h, --l and --s are.")
        name, kind = _OPTIONS[key]
        try:
            options[name] = kind(value)
        except ValueError:
            raise BadInput(f"{where}: --{key} {value!r} is no number.") from None
    return _OPTION.split(line, maxsplit=1)[0].strip(), options


def _as_protocol(path: Path, rows: list[tuple[str, dict[str, Any]]], trigger: str | None) -> dict[str, Any]:
    """The strata of the prompts, and the settings that all of them have."""
    word = standing_alone([trigger]) if trigger else None
    prompts = list(dict.fromkeys(prompt if word is None else word.sub(TRIGGER, prompt) for prompt, _ in rows))
    trained = [prompt for prompt in prompts if TRIGGER in prompt]
    if not trained:
        raise BadInput(f"{path}: no prompt has {TRIGGER} or the trigger word in it, so that none would show the concept.")
    settings = rows[0][1]
    if other := next((prompt for prompt, options in rows if options != settings), None):
        raise BadInput(f"{path}: {other[:60]!r} is asked for with other options than the first prompt; one protocol has one set.")
    return {"trained": trained, "control": [prompt for prompt in prompts if TRIGGER not in prompt], **settings}
