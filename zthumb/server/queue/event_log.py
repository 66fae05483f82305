"""What changed on the server, as one numbered list that any number of clients follow and resume."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

_KEPT = 4000
"""Events that a client that was away can still catch up with."""


@dataclass(frozen=True)
class Event:
    """An event of a ``kind`` with its ``data`` in JSON. ``id`` says which server wrote it, and where in its list it is."""

    id: str
    kind: str
    data: str


class EventLog:
    """The events of one run of the server; all of it is used in the server's event loop."""

    def __init__(self) -> None:
        self._run = uuid.uuid4().hex[:8]
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._count = 0
        self._is_closed = False
        self._changed = asyncio.Event()

    @property
    def last_id(self) -> str:
        """The id of the last event."""
        return f"{self._run}-{self._count}"

    def append(self, kind: str, data: str) -> None:
        """Add an event and wake all who follow."""
        self._count += 1
        self._events.append(Event(self.last_id, kind, data))
        self._wake()

    def forget(self) -> None:
        """End all streams and know no id any more: whoever follows begins again."""
        self._run = uuid.uuid4().hex[:8]
        self._events.clear()
        self._count = 0
        self._wake()

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self._wake()

    def knows(self, event_id: str) -> bool:
        """Return whether all that came after ``event_id`` is still here: it is of this run and not too long ago."""
        run, _, number = event_id.partition("-")
        return run == self._run and number.isdecimal() and self._count - len(self._events) <= int(number) <= self._count

    async def follow(self, event_id: str, heartbeat_s: float) -> AsyncIterator[Event | None]:
        """Yield the events after ``event_id``, which it must know; None whenever there is none for ``heartbeat_s`` seconds."""
        run, _, count = event_id.partition("-")
        number = int(count)
        while not self._is_closed and run == self._run:
            changed = self._changed
            if number < self._count:
                missing = self._count - number
                if missing > len(self._events):  # The client was slower than what is kept.
                    return
                for event in list(self._events)[-missing:]:
                    yield event
                number = number + missing
                continue
            try:
                await asyncio.wait_for(changed.wait(), heartbeat_s)
            except TimeoutError:
                yield None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
