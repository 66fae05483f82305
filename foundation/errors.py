"""Errors a person can act on, and the exit codes of every command: 0 done, 1 failed, 2 bad input."""

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

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AFTER_NO_ROOM = "What was finished before is whole. Make room and run the same command again, which goes on from there."
_OF_THE_DISK = {
    errno.EROFS: "Copy it to, or name, a folder that may be written to.",
    errno.EACCES: "Change its owner or its rights, or name another.",
    errno.EPERM: "Change its owner or its rights, or name another.",
    errno.EIO: "The disk itself has failed: look at its state before anything else is written to it.",
    errno.ESTALE: "The network disk it is on is gone: mount it again.",
    errno.EMFILE: "Too many files are open at once: raise the limit (`ulimit -n`).",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOTDIR: "A file lies where a folder is needed.",
    errno.EISDIR: "A folder lies where a file is needed.",
}
"""What a disk can refuse, and what to do."""


class BadInput(Exception):
    """Something given to the program is wrong. The message says what, where, and what to do, in one or two lines."""


class StageFailed(Exception):
    """Something outside the program went wrong (a server, a disk). The message says what, where, and what to do."""


class SourceFailed(StageFailed):
    """Where something is fetched from does not answer as it should. The message says which, and what to do."""


class Interrupted(Exception):
    """The process was asked to stop and did so in good order. The message says what is kept and how to go on."""


class Command(Protocol):
    """An entry point: arguments, or those of the process, to an exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run it."""


def command(main: Command) -> Command:
    """Turn the errors above into one clear line and an exit code; anything else is a bug and keeps its traceback."""

    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            with _stopped_as_by_hand():
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
            where = error.filename or "a file"
            if error.errno in _NO_ROOM:
                print(f"failed: {where} cannot be written ({error.strerror}). {_AFTER_NO_ROOM}", file=sys.stderr)
            elif error.errno in _OF_THE_DISK:
                print(f"failed: {where}: {error.strerror}. {_OF_THE_DISK[error.errno]}", file=sys.stderr)
            else:
                raise
            return FAILED
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return INTERRUPTED

    return guarded


@contextlib.contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """SIGTERM ends what is under way as Ctrl+C does: with everything put in order and a word to the user."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
