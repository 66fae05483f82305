"""The queue: like with like, in request, within its room, and nothing generated that nobody waits for."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from zthumb.adapters.adapter_cache import Applied, Lora
from zthumb.generation.image_generator import GenerationParams
from zthumb.server.generation_queue import Cancelled, GenerationQueue, GenerationResult, QueuedRequest, QueueFull, ShuttingDown
from zthumb.server.request_resolver import BackendKey, Model, ResolvedRequest

ONE = GenerationParams("a star", None, 128, 128, seed=1, steps=10, guidance_scale=5.0)
SEAT = BackendKey(Model("models/mini-sdxl"), "full")
REQUEST = ResolvedRequest(SEAT, "", (ONE,), (), (), deterministic=False, isolated=False, output_format="png", cost=10.0)


class _Generator:
    """Stands where the backend pool stands: tells what it was given, and waits until it may go on."""

    def __init__(self) -> None:
        self.seen: list[list[ResolvedRequest]] = []
        self.go = threading.Event()

    def __call__(self, batch: Sequence[QueuedRequest]) -> None:
        self.seen.append([queued.resolved for queued in batch])
        while not self.go.wait(0.01):
            if all(queued.is_cancelled for queued in batch):
                raise Cancelled
        for queued in batch:
            if queued.resolved.why == "fails":
                raise MemoryError
            images = tuple(Image.new("RGB", (8, 8)) for _ in queued.resolved.params)
            queued.done.set_result(GenerationResult(images, Applied(), 0, 0, 0, len(batch), 0))


@pytest.fixture
def generator() -> _Generator:
    return _Generator()


@pytest.fixture
def queue(generator: _Generator) -> Iterator[GenerationQueue]:
    made = GenerationQueue(generator, room=100, together=3)
    yield made
    generator.go.set()
    made.close(timeout=5)


def _begun(queue: GenerationQueue, generator: _Generator, resolved: ResolvedRequest = REQUEST) -> QueuedRequest:
    """A request that is at the generator."""
    before, queued = len(generator.seen), queue.submit(resolved)
    while len(generator.seen) == before:
        time.sleep(0.001)
    return queued


def test_like_orders_are_generated_together_and_others_in_their_turn(queue: GenerationQueue, generator: _Generator) -> None:
    other = replace(REQUEST, params=(replace(ONE, seed=2, prompt="a ring"),))
    larger = replace(REQUEST, params=(replace(ONE, width=256),))
    _begun(queue, generator)
    batch = [queue.submit(resolved) for resolved in (larger, other, larger, REQUEST, REQUEST, REQUEST)]
    generator.go.set()
    for queued in batch:
        queued.done.result(timeout=5)
    assert generator.seen[1:] == [[larger, larger], [other, REQUEST, REQUEST], [REQUEST]]


@pytest.mark.parametrize(
    "apart",
    [
        replace(REQUEST, deterministic=True),
        replace(REQUEST, isolated=True),
        replace(REQUEST, backend_key=replace(SEAT, variant="turbo")),
        replace(REQUEST, loras=(Lora(Path("a"), 1.0),)),
        replace(REQUEST, params=(replace(ONE, steps=5),)),
        replace(REQUEST, params=(replace(ONE, guidance_scale=4.0),)),
        replace(REQUEST, params=(replace(ONE, scheduler="ddim"),)),
        replace(REQUEST, params=(replace(ONE, negative_prompt=""),)),
    ],
)
def test_what_differs_in_more_than_prompt_and_seed_is_generated_apart(run_in_thread: ResolvedRequest) -> None:
    assert REQUEST.can_batch_with(replace(REQUEST, cost=3.0))
    assert not REQUEST.can_batch_with(run_in_thread)
    assert not run_in_thread.can_batch_with(REQUEST)


def test_beyond_its_room_it_takes_no_more_and_says_when_to_come_again(queue: GenerationQueue, generator: _Generator) -> None:
    _begun(queue, generator)
    waiting = [queue.submit(replace(REQUEST, cost=50.0)) for _ in range(2)]
    with pytest.raises(QueueFull) as full:
        queue.submit(REQUEST)
    assert full.value.retry_after >= 1
    assert [queue.position(queued) for queued in waiting] == [0, 1]
    assert queue.seconds_left(waiting[1]) > queue.seconds_left(waiting[0])
    assert queue.depth == 2


def test_what_nobody_waits_for_is_not_generated_and_what_is_being_generated_stops(
    queue: GenerationQueue, generator: _Generator
) -> None:
    first = _begun(queue, generator)
    second = queue.submit(replace(REQUEST, backend_key=replace(SEAT, variant="turbo")))
    second.cancel()
    first.cancel()
    for queued in (first, second):
        with pytest.raises(Cancelled):
            queued.done.result(timeout=5)
    assert len(generator.seen) == 1


def test_after_a_failure_the_next_one_is_generated(queue: GenerationQueue, generator: _Generator) -> None:
    generator.go.set()
    with pytest.raises(MemoryError):
        queue.submit(replace(REQUEST, why="fails")).done.result(timeout=5)
    assert len(queue.submit(REQUEST).done.result(timeout=5).images) == 1


def test_at_the_end_what_there_is_is_finished_and_no_more_taken(generator: _Generator) -> None:
    queue = GenerationQueue(generator, room=100, together=3)
    batch = [_begun(queue, generator), queue.submit(REQUEST)]
    generator.go.set()
    queue.close(timeout=5)
    assert all(queued.done.result(timeout=0) for queued in batch)
    with pytest.raises(ShuttingDown):
        queue.submit(REQUEST)


def test_at_the_end_what_takes_too_long_is_given_up(generator: _Generator) -> None:
    queue = GenerationQueue(generator, room=100, together=1)
    batch = [_begun(queue, generator), queue.submit(REQUEST)]
    queue.close(timeout=0.1)
    for queued in batch:
        with pytest.raises(Cancelled):
            queued.done.result(timeout=5)


def test_other_work_comes_first_and_tells_what_it_came_to(queue: GenerationQueue, generator: _Generator) -> None:
    generator.go.set()
    assert queue.call(lambda: threading.current_thread().name).result(timeout=5) == "generator"

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        queue.call(fail).result(timeout=5)
