"""Files and folders that are either whole or not there.

Everything is written beside its target under a temporary name, flushed to the disk and renamed into place, so that a reader
never meets half a file, whatever killed the writer. What a killed writer left is removed by the next one of the same target.
"""

import contextlib
import glob
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.errors import BadInput

_PART, _ASIDE = ".part", ".old"


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path; on success rename it to ``target``, on an exception leave ``target`` as it was."""
    handle, name = tempfile.mkstemp(dir=_swept(target), prefix=f"{_mark(target)}{os.getpid()}.", suffix=_PART)
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
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the place of ``target``, on an exception it is removed."""
    temporary = Path(tempfile.mkdtemp(dir=_swept(target), prefix=f"{_mark(target)}{os.getpid()}.", suffix=_PART))
    try:
        yield temporary
        # What a link leads to is not ours.
        for path in sorted(path for path in temporary.rglob("*") if not path.is_symlink()):
            path.chmod(0o755 if path.is_dir() else 0o644)
            _flush(path)
        temporary.chmod(0o755)
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_can_write(folder: Path, what: str) -> None:
    """Refuse, before anything else is done, a ``folder`` that ``what``, a clause, could not be written to."""
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            pass
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written to ({error.strerror}), and {what}. Copy it, or change its rights.") from None


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuse, before anything else is done, a disk on which ``needed`` bytes for ``what`` are not free."""
    free = shutil.disk_usage(_nearest(folder)).free
    if free < needed:
        raise BadInput(f"{folder}: {what} take about {needed / 2**30:.2f} GiB, and {free / 2**30:.2f} are free. Make room first.")


def _nearest(folder: Path) -> Path:
    """``folder``, or of those around it the innermost that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text whole."""
    with atomic_file(target) as path:
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
    aside = temporary.with_name(temporary.name + _ASIDE)
    if target.exists():
        target.replace(aside)
    temporary.replace(target)
    shutil.rmtree(aside, ignore_errors=True)
    _flush(target.parent)


def _swept(target: Path) -> Path:
    """The folder of ``target``, made if need be and rid of what writers of ``target`` left that were killed on this machine."""
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    marked = glob.escape(_mark(target))
    for left in (*folder.glob(f"{marked}*{_PART}"), *folder.glob(f"{marked}*{_PART}{_ASIDE}")):
        writer = left.name.removeprefix(_mark(target)).split(".")[0]
        if writer.isdecimal() and not _runs(int(writer)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return folder


def _mark(target: Path) -> str:
    """How the name of a temporary file begins, up to the number of the process that writes it."""
    return f".{target.name}.{platform.node()}."


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
