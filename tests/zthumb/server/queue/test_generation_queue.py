"""The queue: compatible requests in one batch, first in first out, bounded capacity, and cancelled requests not generated."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from zthumb.adapters.adapter_cache import AppliedAdapters, Lora
from zthumb.generation.parameters import GenerationParams
from zthumb.server.queue.generation_queue import (
    Cancelled,
    GenerationQueue,
    GenerationResult,
    QueuedRequest,
    QueueFull,
    ShuttingDown,
)
from zthumb.server.request_resolver import BackendKey, Model, ResolvedRequest

PARAMS = GenerationParams("a star", None, 128, 128, seed=1, steps=10, guidance_scale=5.0)
BACKEND = BackendKey(Model("models/mini-sdxl"), "full")
REQUEST = ResolvedRequest(BACKEND, "", (PARAMS,), (), (), deterministic=False, isolated=False, output_format="png", cost=10.0)


class _Generator:
    """Takes the place of the backend pool: records its batches, and waits until it may finish."""

    def __init__(self) -> None:
        self.batches: list[list[ResolvedRequest]] = []
        self.may_finish = threading.Event()

    def __call__(self, batch: Sequence[QueuedRequest]) -> None:
        self.batches.append([queued.resolved for queued in batch])
        while not self.may_finish.wait(0.01):
            if all(queued.is_cancelled for queued in batch):
                raise Cancelled
        for queued in batch:
            if queued.resolved.variant_reason == "fails":
                raise MemoryError
            images = tuple(Image.new("RGB", (8, 8)) for _ in queued.resolved.params)
            queued.future.set_result(GenerationResult(images, AppliedAdapters(), 0, 0, 0, len(batch), 0))


@pytest.fixture
def generator() -> _Generator:
    return _Generator()


@pytest.fixture
def queue(generator: _Generator) -> Iterator[GenerationQueue]:
    queue = GenerationQueue(generator, capacity=100, batch_size=3)
    yield queue
    generator.may_finish.set()
    queue.close(timeout=5)


def _start_request(queue: GenerationQueue, generator: _Generator, resolved: ResolvedRequest = REQUEST) -> QueuedRequest:
    """Submit a request and wait until it is being generated."""
    batches_before, queued = len(generator.batches), queue.submit(resolved)
    while len(generator.batches) == batches_before:
        time.sleep(0.001)
    return queued


def test_compatible_requests_are_generated_in_one_batch_and_others_in_their_order(
    queue: GenerationQueue, generator: _Generator
) -> None:
    other_prompt = replace(REQUEST, params=(replace(PARAMS, seed=2, prompt="a ring"),))
    larger = replace(REQUEST, params=(replace(PARAMS, width=256),))
    _start_request(queue, generator)
    batch = [queue.submit(resolved) for resolved in (larger, other_prompt, larger, REQUEST, REQUEST, REQUEST)]
    generator.may_finish.set()
    for queued in batch:
        queued.future.result(timeout=5)
    assert generator.batches[1:] == [[larger, larger], [other_prompt, REQUEST, REQUEST], [REQUEST]]


@pytest.mark.parametrize(
    "incompatible",
    [
        replace(REQUEST, deterministic=True),
        replace(REQUEST, isolated=True),
        replace(REQUEST, backend_key=replace(BACKEND, variant="turbo")),
        replace(REQUEST, loras=(Lora(Path("a"), 1.0),)),
        replace(REQUEST, params=(replace(PARAMS, steps=5),)),
        replace(REQUEST, params=(replace(PARAMS, guidance_scale=4.0),)),
        replace(REQUEST, params=(replace(PARAMS, scheduler="ddim"),)),
        replace(REQUEST, params=(replace(PARAMS, negative_prompt=""),)),
    ],
)
def test_requests_that_differ_in_more_than_prompt_and_seed_are_not_batched(incompatible: ResolvedRequest) -> None:
    assert REQUEST.can_batch_with(replace(REQUEST, cost=3.0))
    assert not REQUEST.can_batch_with(incompatible)
    assert not incompatible.can_batch_with(REQUEST)


def test_a_full_queue_refuses_requests_and_says_when_to_try_again(queue: GenerationQueue, generator: _Generator) -> None:
    _start_request(queue, generator)
    waiting = [queue.submit(replace(REQUEST, cost=50.0)) for _ in range(2)]
    with pytest.raises(QueueFull) as full:
        queue.submit(REQUEST)
    assert full.value.retry_after >= 1
    assert [queue.position(queued) for queued in waiting] == [0, 1]
    assert queue.seconds_left(waiting[1]) > queue.seconds_left(waiting[0])
    assert queue.depth == 2


def test_a_cancelled_waiting_request_is_not_generated_and_a_cancelled_running_one_stops(
    queue: GenerationQueue, generator: _Generator
) -> None:
    first = _start_request(queue, generator)
    second = queue.submit(replace(REQUEST, backend_key=replace(BACKEND, variant="turbo")))
    second.cancel()
    first.cancel()
    for queued in (first, second):
        with pytest.raises(Cancelled):
            queued.future.result(timeout=5)
    assert len(generator.batches) == 1


def test_after_a_failed_request_the_next_one_is_generated(queue: GenerationQueue, generator: _Generator) -> None:
    generator.may_finish.set()
    with pytest.raises(MemoryError):
        queue.submit(replace(REQUEST, variant_reason="fails")).future.result(timeout=5)
    assert len(queue.submit(REQUEST).future.result(timeout=5).images) == 1


def test_closing_finishes_the_queued_requests_and_accepts_no_more(generator: _Generator) -> None:
    queue = GenerationQueue(generator, capacity=100, batch_size=3)
    batch = [_start_request(queue, generator), queue.submit(REQUEST)]
    generator.may_finish.set()
    queue.close(timeout=5)
    assert all(queued.future.result(timeout=0) for queued in batch)
    with pytest.raises(ShuttingDown):
        queue.submit(REQUEST)


def test_closing_cancels_requests_that_take_too_long(generator: _Generator) -> None:
    queue = GenerationQueue(generator, capacity=100, batch_size=1)
    batch = [_start_request(queue, generator), queue.submit(REQUEST)]
    queue.close(timeout=0.1)
    for queued in batch:
        with pytest.raises(Cancelled):
            queued.future.result(timeout=5)


def test_a_call_runs_in_the_generator_thread_and_returns_its_result_or_exception(
    queue: GenerationQueue, generator: _Generator
) -> None:
    generator.may_finish.set()
    assert queue.call(lambda: threading.current_thread().name).result(timeout=5) == "generator"

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        queue.call(fail).result(timeout=5)
