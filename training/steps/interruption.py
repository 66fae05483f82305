"""SIGTERM and SIGINT as a wish to stop, granted between two steps."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Whether the process was asked to stop. A second Ctrl+C stops at once."""

    def __init__(self) -> None:
        self.is_wanted = False

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator["Interruption"]:
        """Note the signals for the length of the block instead of dying of them."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.is_wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_wanted = True
