"""The trigger words that a web page gives for a downloaded adapter: kept next to its file, in ``<file>.triggers.json``."""

from collections.abc import Sequence
from pathlib import Path

from foundation.files import read_json, write_json


def store_triggers(file: Path, triggers: Sequence[str]) -> None:
    """Store ``triggers`` next to the adapter's ``file``, if there are any."""
    if triggers:
        write_json(_path(file), list(triggers))


def stored_triggers(file: Path) -> list[str]:
    """Return the trigger words stored next to the adapter's ``file``; none if nothing was stored."""
    return [str(word) for word in read_json(_path(file))] if _path(file).is_file() else []


def _path(file: Path) -> Path:
    return file.with_name(f"{file.name}.triggers.json")
