"""The queue in front of the generator: bounded by cost, first come first served, like requests generated together."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from zthumb.adapters.adapter_cache import Applied
from zthumb.server.request_resolver import ResolvedRequest

if TYPE_CHECKING:
    from PIL import Image


class Cancelled(Exception):
    """Nobody waits for these images any more."""


class QueueFull(Exception):
    """There is more to do than the server takes on; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; try again in about {retry_after:.0f} s")
        self.retry_after = retry_after


class ShuttingDown(Exception):
    """The server ends and takes no more requests."""


@dataclass(frozen=True)
class GenerationResult:
    """The images of a request and how they came about: the adapters, seconds, images at once, peak bytes.

    ``unread`` are the ends of prompts that were not read, by field. ``tile`` is the edge of the tiles they were decoded in
    because memory had run out, None where it had not.
    """

    images: tuple["Image.Image", ...]
    applied: Applied
    queue_s: float
    lora_s: float
    generate_s: float
    together: int
    peak_bytes: int
    tile: int | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass
class QueuedRequest:
    """A request in the queue or at the generator, its ``progress`` from 0 to 1, and what its first image looks like so far.

    ``done`` holds its images in the end, or why there are none.
    """

    resolved: ResolvedRequest
    done: "Future[GenerationResult]" = field(default_factory=Future)
    progress: float = 0.0
    preview: "Callable[[], Image.Image] | None" = None
    is_cancelled: bool = False
    came: float = field(default_factory=time.monotonic)
    began: float | None = None

    def cancel(self) -> None:
        """Give it up: before it begins, or at its next step."""
        self.is_cancelled = True


Result = TypeVar("Result")

GenerateBatch = Callable[[Sequence[QueuedRequest]], None]
"""Generates requests that go together and sets what each is done with; what it raises is what all of them are done with."""


class GenerationQueue:
    """Takes requests from any thread and has them generated in one, the only one that ever touches a model.

    Two threads that multiply matrices have twice as many workers as there are processors, even while one is idle: those then
    sleep where they would wait, and a small image takes twice as long.
    """

    def __init__(
        self,
        generate: GenerateBatch,
        room: float,
        together: int,
        tell: Callable[[ResolvedRequest, GenerationResult], None] = lambda _, __: None,
    ) -> None:
        """``tell`` hears of every request that was generated."""
        self._generate, self._room, self._together, self._tell = generate, room, together, tell
        self._waiting: deque[QueuedRequest] = deque()
        self._at_work: list[QueuedRequest] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_per_cost = 0.1
        self._thread = threading.Thread(target=self._work, name="generator", daemon=True)
        self._thread.start()

    def submit(self, resolved: ResolvedRequest, is_accepted: bool = False) -> QueuedRequest:
        """Put a request at the end of the queue; ``QueueFull`` when there is no room, ``Draining`` when the server ends.

        One that ``is_accepted`` already finds room in any case.
        """
        with self._changed:
            if self._is_closed:
                raise ShuttingDown
            self._forget_cancelled()
            is_full = bool(self._waiting) and self._cost(self._waiting) + resolved.cost > self._room
            if is_full and not is_accepted:
                raise QueueFull(max(1.0, self.seconds_for(resolved.cost)))
            queued = QueuedRequest(resolved)
            # Whoever waits for it may go away; the images are then made for nobody, and the generator goes on.
            queued.done.set_running_or_notify_cancel()
            self._waiting.append(queued)
            self._changed.notify_all()
            return queued

    def call(self, work: Callable[[], Result]) -> "Future[Result]":
        """Have something else done in the generator's thread, before all requests."""
        called: Future[Result] = Future()

        def do() -> None:
            try:
                called.set_result(work())
            except BaseException as error:
                called.set_exception(error)

        with self._changed:
            self._calls.append(do)
            self._changed.notify_all()
        return called

    def position(self, queued: QueuedRequest) -> int:
        """How many requests are before it; 0 for the next one and for one that is being generated."""
        with self._changed:
            return self._waiting.index(queued) if queued in self._waiting else 0

    def seconds_for(self, cost: float) -> float:
        """About how long work of ``cost`` takes here."""
        return cost * self._seconds_per_cost

    def seconds_left(self, queued: QueuedRequest) -> float:
        """About how long until it is done, from what the last ones took."""
        with self._changed:
            before = list(self._waiting)[: self._waiting.index(queued)] if queued in self._waiting else []
            busy = [each for each in self._at_work if each is not queued]
            return self.seconds_for(self._cost(before) + sum(_left(each) for each in busy) + _left(queued))

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def current(self) -> QueuedRequest | None:
        """The first of those that are generated now."""
        with self._changed:
            return self._at_work[0] if self._at_work else None

    def close(self, timeout: float) -> None:
        """Take no more requests, finish those there are within ``timeout`` seconds, give up the rest."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            for queued in [*self._waiting, *self._at_work]:
                queued.cancel()
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            while self._calls:
                self._calls.popleft()()
            if not batch:
                continue
            started = time.monotonic()
            for queued in batch:
                queued.began = started
            if self._run(batch):
                took = (time.monotonic() - started) / self._cost(batch)
                self._seconds_per_cost = 0.7 * self._seconds_per_cost + 0.3 * took
            elif len(batch) > 1:
                # One of them is at fault, and the others are not to suffer for it.
                for queued in batch:
                    if not queued.done.done():
                        self._run([queued])
            with self._changed:
                self._at_work = []

    def _run(self, batch: Sequence[QueuedRequest]) -> bool:
        """Generate ``batch``; return whether it succeeded. Of several, none is finished where one of them failed."""
        try:
            self._generate(batch)
            for queued in batch:
                self._tell(queued.resolved, queued.done.result())
        except BaseException as error:
            # Kept with the requests, it would keep every tensor of what it came out of.
            traceback.clear_frames(error.__traceback__)
            if len(batch) == 1 or isinstance(error, Cancelled):
                for queued in batch:
                    if not queued.done.done():
                        queued.done.set_exception(error)
            return False
        return True

    def _next(self) -> list[QueuedRequest] | None:
        """The first request and those that go with it, or none where there is something else to do; None at the end."""
        with self._changed:
            while True:
                self._forget_cancelled()
                if self._calls or self._waiting:
                    break
                if self._is_closed:
                    return None
                self._changed.wait()
            if self._calls:
                return []
            first = self._waiting.popleft()
            chosen, count = [first], len(first.resolved.params)
            for other in list(self._waiting):
                more = len(other.resolved.params)
                if first.resolved.can_batch_with(other.resolved) and count + more <= self._together:
                    self._waiting.remove(other)
                    chosen.append(other)
                    count += more
            self._at_work = chosen
            return chosen

    def _forget_cancelled(self) -> None:
        """Take those out of the queue that nobody waits for any more. The lock is held."""
        for queued in [each for each in self._waiting if each.is_cancelled]:
            self._waiting.remove(queued)
            queued.done.set_exception(Cancelled())

    @staticmethod
    def _cost(batch: Sequence[QueuedRequest] | deque[QueuedRequest]) -> float:
        return sum(queued.resolved.cost for queued in batch)


def _left(queued: QueuedRequest) -> float:
    return queued.resolved.cost * (1 - queued.progress)
