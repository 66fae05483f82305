"""Files and folders that are either complete or absent.

Everything is written next to its target under a temporary name, flushed to the disk and renamed into place, so that a reader
never sees half a file, whatever killed the writer. What a killed writer left is removed by the next writer of the same target.
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

_PARTIAL, _OLD = ".part", ".old"


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path; on success rename it to ``target``, on an exception leave ``target`` as it was."""
    handle, name = tempfile.mkstemp(dir=_prepare_parent(target), prefix=f"{_prefix(target)}{os.getpid()}.", suffix=_PARTIAL)
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
    """Yield an empty temporary folder; on success it replaces ``target``, on an exception it is removed."""
    temporary = Path(tempfile.mkdtemp(dir=_prepare_parent(target), prefix=f"{_prefix(target)}{os.getpid()}.", suffix=_PARTIAL))
    try:
        yield temporary
        # The targets of links are not ours to change.
        for path in sorted(path for path in temporary.rglob("*") if not path.is_symlink()):
            path.chmod(0o755 if path.is_dir() else 0o644)
            _flush(path)
        temporary.chmod(0o755)
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_can_write(folder: Path, what: str) -> None:
    """Raise ``BadInput``, before any work, if ``folder`` is not writable; ``what`` is a clause: what is written there."""
    try:
        with tempfile.TemporaryFile(dir=_nearest_existing(folder)):
            pass
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be written to ({error.strerror}), and {what}. Copy it, or change its permissions."
        ) from None


def check_disk_space(folder: Path, needed: int, what: str) -> None:
    """Raise ``BadInput``, before any work, if the disk of ``folder`` has less than ``needed`` bytes free for ``what``."""
    free = shutil.disk_usage(_nearest_existing(folder)).free
    if free < needed:
        raise BadInput(
            f"{folder}: {what} take about {needed / 2**30:.2f} GiB, and {free / 2**30:.2f} are free. Free disk space first."
        )


def _nearest_existing(folder: Path) -> Path:
    """Return ``folder`` or, if it does not exist, its nearest parent that does."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as JSON atomically, with sorted keys and a final newline, so that equal values give equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def replace_folder(temporary: Path, target: Path) -> None:
    """Replace ``target`` by a finished folder next to it."""
    # A folder cannot be renamed over one that is not empty: the old one is renamed first and removed last.
    old = temporary.with_name(temporary.name + _OLD)
    if target.exists():
        target.replace(old)
    temporary.replace(target)
    shutil.rmtree(old, ignore_errors=True)
    _flush(target.parent)


def _prepare_parent(target: Path) -> Path:
    """Create the parent folder of ``target`` and remove what writers of ``target`` left that were killed on this machine."""
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    prefix = glob.escape(_prefix(target))
    for path in (*folder.glob(f"{prefix}*{_PARTIAL}"), *folder.glob(f"{prefix}*{_PARTIAL}{_OLD}")):
        writer = path.name.removeprefix(_prefix(target)).split(".")[0]
        if writer.isdecimal() and not _is_running(int(writer)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return folder


def _prefix(target: Path) -> str:
    """Return how the names of temporary files for ``target`` begin, up to the process id of their writer."""
    return f".{target.name}.{platform.node()}."


def _is_running(process: int) -> bool:
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
