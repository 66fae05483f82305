"""Who works on something: a lock that the system takes back when its holders are gone, however they ended.

A process number says nothing after a crash: it may belong to another program by then, and a run would be "stopping" for ever.
The lock is that of an open file, which processes that inherit the file hold too.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_LONG_ENOUGH_S = 5.0
"""For whoever only looked whether the lease is held."""
_AGAIN_S = 0.05


@contextlib.contextmanager
def hold(path: Path) -> Iterator[int | None]:
    """Hold the lease at ``path`` inside the block, and as long as a process lives that inherits the open file that is yielded.

    What is yielded is None if another process holds it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield file if _lock(file) else None
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lease at ``path``; any number may look at the same time."""
    import fcntl

    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _lock(file: int) -> bool:
    # Not on Windows, where no run is started: their script is for bash.
    import fcntl

    deadline = time.monotonic() + _LONG_ENOUGH_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_AGAIN_S)
        else:
            return True
