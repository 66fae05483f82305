"""Files and folders that are either whole or not there.

Everything is written beside its target under a temporary name, flushed to the disk and renamed into place, so that a reader
never meets half a file, whatever killed the writer.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path; on success rename it to ``target``, on an exception leave ``target`` as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
        _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the place of ``target``, on an exception it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
            _flush(path)
        temporary.chmod(0o755)
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text whole."""
    with whole_file(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as JSON whole: sorted keys and a final newline, so that equal values give equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def replace_folder(temporary: Path, target: Path) -> None:
    """Put a finished folder into the place of ``target``, which lies beside it."""
    # A folder cannot be renamed over a filled one: the old one steps aside first and goes last.
    aside = temporary.with_name(temporary.name + ".old")
    if target.exists():
        target.replace(aside)
    temporary.replace(target)
    shutil.rmtree(aside, ignore_errors=True)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
