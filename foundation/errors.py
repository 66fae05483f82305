"""Errors that a user can act on, and the exit codes of every command: 0 success, 1 failure, 2 bad input."""

import contextlib
import errno
import functools
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

DONE, FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_FULL_ADVICE = "Everything finished before is intact. Free disk space and run the same command again to resume."
_ADVICE = {
    errno.EROFS: "Copy it to, or name, a writable folder.",
    errno.EACCES: "Change its owner or permissions, or name another.",
    errno.EPERM: "Change its owner or permissions, or name another.",
    errno.EIO: "The disk itself has failed: check its state before writing anything else to it.",
    errno.ESTALE: "The network disk it is on is gone: mount it again.",
    errno.EMFILE: "Too many files are open at once: raise the limit (`ulimit -n`).",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOTDIR: "There is a file where a folder is needed.",
    errno.EISDIR: "There is a folder where a file is needed.",
}
"""Other errors of a file system, and what to do about each."""


class BadInput(Exception):
    """The user's input is wrong. The message says what, where, and what to do, in one or two lines."""


class StageFailed(Exception):
    """Something outside the program went wrong (a server, a disk). The message says what, where, and what to do."""


class SourceFailed(StageFailed):
    """A download source does not answer as it should. The message says which, and what to do."""


class Interrupted(Exception):
    """The process was asked to stop and stopped cleanly. The message says what was saved and how to resume."""


class Command(Protocol):
    """An entry point: takes arguments (default: those of the process) and returns an exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command."""


def command(main: Command) -> Command:
    """Turn the errors above into one clear line and an exit code; any other exception is a bug and keeps its traceback."""

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            with _sigterm_as_keyboard_interrupt():
                return main(argv)
        except BadInput as error:
            print(f"error: {error}", file=sys.stderr)
            return BAD_INPUT
        except StageFailed as error:
            print(f"failed: {error}", file=sys.stderr)
            return FAILED
        except Interrupted as error:
            print(error, file=sys.stderr)
            return INTERRUPTED
        except OSError as error:
            path = error.filename or "a file"
            if error.errno in _DISK_FULL:
                print(f"failed: {path} cannot be written ({error.strerror}). {_DISK_FULL_ADVICE}", file=sys.stderr)
            elif error.errno in _ADVICE:
                print(f"failed: {path}: {error.strerror}. {_ADVICE[error.errno]}", file=sys.stderr)
            else:
                raise
            return FAILED
        except KeyboardInterrupt:
            print("interrupted; run the same command again to resume", file=sys.stderr)
            return INTERRUPTED

    return guarded


@contextlib.contextmanager
def _sigterm_as_keyboard_interrupt() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl+C does: with every cleanup run and a message to the user."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
