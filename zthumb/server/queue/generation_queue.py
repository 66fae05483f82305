"""The queue in front of the generator thread: bounded by cost, first in first out, compatible requests batched together."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from zthumb.adapters.adapter_cache import AppliedAdapters
from zthumb.server.request_resolver import ResolvedRequest

if TYPE_CHECKING:
    from PIL import Image


class Cancelled(Exception):
    """Nobody waits for these images any more."""


class QueueFull(Exception):
    """The queue has no capacity left; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; try again in about {retry_after:.0f} s")
        self.retry_after = retry_after


class ShuttingDown(Exception):
    """The server is shutting down and accepts no more requests."""


@dataclass(frozen=True)
class GenerationResult:
    """The images of a request and how they were made: the applied adapters, durations in seconds, batch size and peak memory.

    ``batch_size`` is the number of images that were generated at once. ``truncated_text`` maps a prompt field to the end of the
    prompt that was not encoded. ``tile`` is the edge in pixels of the tiles the images were decoded in because memory had run
    out, None if it had not.
    """

    images: tuple[Image.Image, ...]
    applied: AppliedAdapters
    queue_s: float
    lora_s: float
    generate_s: float
    batch_size: int
    peak_bytes: int
    tile: int | None = None
    truncated_text: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class QueuedRequest:
    """A request that waits or is being generated, its ``progress`` from 0 to 1, and a ``preview`` of its first image.

    ``future`` ends with the images or with the exception that says why there are none.
    """

    resolved: ResolvedRequest
    future: Future[GenerationResult] = field(default_factory=Future)
    progress: float = 0.0
    preview: Callable[[], Image.Image] | None = None
    is_cancelled: bool = False
    submitted_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None

    def cancel(self) -> None:
        """Cancel the request: before it starts, or at its next step."""
        self.is_cancelled = True


@dataclass(frozen=True)
class Outlook:
    """How many requests are ahead of one, and about how many seconds are left until it is done."""

    position: int
    seconds_left: float


Result = TypeVar("Result")

GenerateBatch = Callable[[Sequence[QueuedRequest]], None]
"""Generates requests that can be batched and sets the result of each future; an exception it raises applies to all of them."""


@dataclass(frozen=True)
class IdleTask:
    """What a thread with nothing to generate does in ``seconds()``, if it is not None: ``run``."""

    seconds: Callable[[], float | None]
    run: Callable[[], None]


class GenerationQueue:
    """Accepts requests from any thread and generates them in one thread, the only one that ever touches a model.

    Two threads that multiply matrices start twice as many workers as there are processors, even while one is idle: those then
    sleep where they would spin, and a small image takes twice as long.
    """

    def __init__(
        self,
        generate: GenerateBatch,
        capacity: float,
        batch_size: int,
        on_result: Callable[[ResolvedRequest, GenerationResult], None] = lambda _, __: None,
        when_idle: IdleTask | None = None,
    ) -> None:
        """Start the generator thread.

        ``capacity`` is the largest total cost of waiting requests, ``batch_size`` the most images that are generated at once.
        ``on_result`` is called for every request that was generated, ``when_idle`` is run in the thread when it is due.
        """
        self._generate, self._capacity, self._batch_size, self._on_result = generate, capacity, batch_size, on_result
        self._when_idle = when_idle
        self._waiting: deque[QueuedRequest] = deque()
        self._running: list[QueuedRequest] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_per_cost = 0.1
        self._thread = threading.Thread(target=self._run_worker, name="generator", daemon=True)
        self._thread.start()

    def submit(self, resolved: ResolvedRequest, is_accepted: bool = False) -> QueuedRequest:
        """Append a request to the queue.

        A request that ``is_accepted`` already is queued whatever the capacity. Raises ``QueueFull`` when there is no capacity
        left, ``ShuttingDown`` when the server is shutting down.
        """
        with self._changed:
            if self._is_closed:
                raise ShuttingDown
            self._drop_cancelled()
            is_full = bool(self._waiting) and self._total_cost(self._waiting) + resolved.cost > self._capacity
            if is_full and not is_accepted:
                raise QueueFull(max(1.0, self.seconds_for(resolved.cost)))
            return self._append(resolved)

    def submit_all(self, requests: Sequence[ResolvedRequest]) -> list[QueuedRequest]:
        """Append all at once, whatever the capacity: which of them share a batch, and so their last bits, is always the same."""
        with self._changed:
            if self._is_closed:
                raise ShuttingDown
            return [self._append(resolved) for resolved in requests]

    def _append(self, resolved: ResolvedRequest) -> QueuedRequest:
        """Append a request to the queue. The caller holds the lock."""
        queued = QueuedRequest(resolved)
        # Whoever awaits the future may cancel it; the images are then discarded, and the generator goes on.
        queued.future.set_running_or_notify_cancel()
        self._waiting.append(queued)
        self._changed.notify_all()
        return queued

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run ``function`` in the generator thread, before all waiting requests."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        with self._changed:
            self._calls.append(run)
            self._changed.notify_all()
        return future

    def position(self, queued: QueuedRequest) -> int:
        """Return how many requests are ahead of it; 0 for the next one and for one that is being generated."""
        with self._changed:
            return self._waiting.index(queued) if queued in self._waiting else 0

    def seconds_for(self, cost: float) -> float:
        """Return about how long work of ``cost`` takes on this machine."""
        return cost * self._seconds_per_cost

    def seconds_left(self, queued: QueuedRequest) -> float:
        """Estimate the seconds until the request is done, from how long the last ones took."""
        with self._changed:
            ahead = list(self._waiting)[: self._waiting.index(queued)] if queued in self._waiting else []
            running = [request for request in self._running if request is not queued]
            running_cost = sum(_remaining_cost(request) for request in running)
            return self.seconds_for(self._total_cost(ahead) + running_cost + _remaining_cost(queued))

    def outlook(self) -> dict[QueuedRequest, Outlook]:
        """Return for every request that waits or is generated what is ahead of it, in one pass."""
        with self._changed:
            found = dict[QueuedRequest, Outlook]()
            running = sum(_remaining_cost(request) for request in self._running)
            for request in self._running:
                found[request] = Outlook(0, self.seconds_for(running))
            cost = running
            for position, request in enumerate(self._waiting):
                cost += request.resolved.cost
                found[request] = Outlook(position, self.seconds_for(cost))
            return found

    @property
    def depth(self) -> int:
        """The number of waiting requests."""
        return len(self._waiting)

    @property
    def current(self) -> QueuedRequest | None:
        """The first of the requests that are being generated."""
        with self._changed:
            return self._running[0] if self._running else None

    def close(self, timeout: float) -> None:
        """Accept no more requests, finish the queued ones within ``timeout`` seconds, cancel the rest."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            for queued in [*self._waiting, *self._running]:
                queued.cancel()
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _run_worker(self) -> None:
        while (batch := self._next_batch()) is not None:
            while self._calls:
                self._calls.popleft()()
            if not batch:
                continue
            started = time.monotonic()
            for queued in batch:
                queued.started_at = started
            if self._run_batch(batch):
                seconds_per_cost = (time.monotonic() - started) / self._total_cost(batch)
                self._seconds_per_cost = 0.7 * self._seconds_per_cost + 0.3 * seconds_per_cost
            elif len(batch) > 1:
                # One of them is at fault, and the others must not fail because of it.
                for queued in batch:
                    if not queued.future.done():
                        self._run_batch([queued])
            with self._changed:
                self._running = []

    def _run_batch(self, batch: Sequence[QueuedRequest]) -> bool:
        """Generate ``batch``; return whether it succeeded. If one of several requests failed, none of them is finished."""
        try:
            self._generate(batch)
            for queued in batch:
                self._on_result(queued.resolved, queued.future.result())
        except BaseException as error:
            # The exception is stored with the requests; its frames would keep every tensor of the failed call alive.
            traceback.clear_frames(error.__traceback__)
            if len(batch) == 1 or isinstance(error, Cancelled):
                for queued in batch:
                    if not queued.future.done():
                        queued.future.set_exception(error)
            return False
        return True

    def _next_batch(self) -> list[QueuedRequest] | None:
        """Wait for the first request and those it can be batched with; empty if there is a call to run; None at the end."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if self._calls or self._waiting:
                    break
                if self._is_closed:
                    return None
                if not self._changed.wait(self._when_idle.seconds() if self._when_idle else None) and self._when_idle:
                    self._calls.append(self._when_idle.run)
            if self._calls:
                return []
            first = self._waiting.popleft()
            batch, image_count = [first], len(first.resolved.params)
            for other in list(self._waiting):
                other_count = len(other.resolved.params)
                if first.resolved.can_batch_with(other.resolved) and image_count + other_count <= self._batch_size:
                    self._waiting.remove(other)
                    batch.append(other)
                    image_count += other_count
            self._running = batch
            return batch

    def _drop_cancelled(self) -> None:
        """Remove cancelled requests from the queue. The caller holds the lock."""
        for queued in [request for request in self._waiting if request.is_cancelled]:
            self._waiting.remove(queued)
            queued.future.set_exception(Cancelled())

    @staticmethod
    def _total_cost(batch: Sequence[QueuedRequest] | deque[QueuedRequest]) -> float:
        return sum(queued.resolved.cost for queued in batch)


def _remaining_cost(queued: QueuedRequest) -> float:
    return queued.resolved.cost * (1 - queued.progress)
