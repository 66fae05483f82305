"""Who runs something: a lock that the system takes back when its holder is gone, however it ended.

A process number says nothing after a crash: it may belong to another program by then, and a run would be "stopping" for ever.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_LONG_ENOUGH_S = 5.0
"""For whoever only looked whether the lease is held."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold the lease at ``path`` inside the block; what is yielded is False if another process holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_LONG_ENOUGH_S)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a process holds the lease at ``path``."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False
