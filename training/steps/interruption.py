"""SIGTERM and SIGINT as a request to stop between two steps."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Whether the process was signalled to stop. A second Ctrl+C stops at once."""

    def __init__(self) -> None:
        self.is_requested = False

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator["Interruption"]:
        """Note the signals inside the block instead of exiting."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.is_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_requested = True
