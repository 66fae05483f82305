"""The queue: like with like, in order, within its room, and nothing generated that nobody waits for."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from zthumb.adapters.loaded import Applied, Lora
from zthumb.generation.image_generator import GenerationParams
from zthumb.server.dispatcher import Cancelled, Dispatcher, Draining, GenerationResult, QueueFull, Ticket
from zthumb.server.orders import Model, Order, Seat

ONE = GenerationParams("a star", None, 128, 128, seed=1, steps=10, guidance_scale=5.0)
SEAT = Seat(Model("models/mini-sdxl"), "full")
ORDER = Order(SEAT, "", (ONE,), (), (), deterministic=False, isolated=False, output_format="png", cost=10.0)


class _Generator:
    """Stands where the studio stands: tells what it was given, and waits until it may go on."""

    def __init__(self) -> None:
        self.seen: list[list[Order]] = []
        self.go = threading.Event()

    def __call__(self, tickets: Sequence[Ticket]) -> None:
        self.seen.append([ticket.order for ticket in tickets])
        while not self.go.wait(0.01):
            if all(ticket.is_cancelled for ticket in tickets):
                raise Cancelled
        for ticket in tickets:
            if ticket.order.why == "fails":
                raise MemoryError
            images = tuple(Image.new("RGB", (8, 8)) for _ in ticket.order.params)
            ticket.done.set_result(GenerationResult(images, Applied(), 0, 0, 0, len(tickets), 0))


@pytest.fixture
def generator() -> _Generator:
    return _Generator()


@pytest.fixture
def dispatcher(generator: _Generator) -> Iterator[Dispatcher]:
    made = Dispatcher(generator, room=100, together=3)
    yield made
    generator.go.set()
    made.close(timeout=5)


def _begun(dispatcher: Dispatcher, generator: _Generator, order: Order = ORDER) -> Ticket:
    """A ticket that is at the generator."""
    before, ticket = len(generator.seen), dispatcher.submit(order)
    while len(generator.seen) == before:
        time.sleep(0.001)
    return ticket


def test_like_orders_are_generated_together_and_others_in_their_turn(dispatcher: Dispatcher, generator: _Generator) -> None:
    other = replace(ORDER, params=(replace(ONE, seed=2, prompt="a ring"),))
    larger = replace(ORDER, params=(replace(ONE, width=256),))
    _begun(dispatcher, generator)
    tickets = [dispatcher.submit(order) for order in (larger, other, larger, ORDER, ORDER, ORDER)]
    generator.go.set()
    for ticket in tickets:
        ticket.done.result(timeout=5)
    assert generator.seen[1:] == [[larger, larger], [other, ORDER, ORDER], [ORDER]]


@pytest.mark.parametrize(
    "apart",
    [
        replace(ORDER, deterministic=True),
        replace(ORDER, isolated=True),
        replace(ORDER, seat=replace(SEAT, variant="turbo")),
        replace(ORDER, loras=(Lora(Path("a"), 1.0),)),
        replace(ORDER, params=(replace(ONE, steps=5),)),
        replace(ORDER, params=(replace(ONE, guidance_scale=4.0),)),
        replace(ORDER, params=(replace(ONE, scheduler="ddim"),)),
        replace(ORDER, params=(replace(ONE, negative_prompt=""),)),
    ],
)
def test_what_differs_in_more_than_prompt_and_seed_is_generated_apart(apart: Order) -> None:
    assert ORDER.goes_with(replace(ORDER, cost=3.0))
    assert not ORDER.goes_with(apart)
    assert not apart.goes_with(ORDER)


def test_beyond_its_room_it_takes_no_more_and_says_when_to_come_again(dispatcher: Dispatcher, generator: _Generator) -> None:
    _begun(dispatcher, generator)
    waiting = [dispatcher.submit(replace(ORDER, cost=50.0)) for _ in range(2)]
    with pytest.raises(QueueFull) as full:
        dispatcher.submit(ORDER)
    assert full.value.retry_after >= 1
    assert [dispatcher.position(ticket) for ticket in waiting] == [0, 1]
    assert dispatcher.seconds_left(waiting[1]) > dispatcher.seconds_left(waiting[0])
    assert dispatcher.depth == 2


def test_what_nobody_waits_for_is_not_generated_and_what_is_being_generated_stops(
    dispatcher: Dispatcher, generator: _Generator
) -> None:
    first = _begun(dispatcher, generator)
    second = dispatcher.submit(replace(ORDER, seat=replace(SEAT, variant="turbo")))
    second.cancel()
    first.cancel()
    for ticket in (first, second):
        with pytest.raises(Cancelled):
            ticket.done.result(timeout=5)
    assert len(generator.seen) == 1


def test_after_a_failure_the_next_one_is_generated(dispatcher: Dispatcher, generator: _Generator) -> None:
    generator.go.set()
    with pytest.raises(MemoryError):
        dispatcher.submit(replace(ORDER, why="fails")).done.result(timeout=5)
    assert len(dispatcher.submit(ORDER).done.result(timeout=5).images) == 1


def test_at_the_end_what_there_is_is_finished_and_no_more_taken(generator: _Generator) -> None:
    dispatcher = Dispatcher(generator, room=100, together=3)
    tickets = [_begun(dispatcher, generator), dispatcher.submit(ORDER)]
    generator.go.set()
    dispatcher.close(timeout=5)
    assert all(ticket.done.result(timeout=0) for ticket in tickets)
    with pytest.raises(Draining):
        dispatcher.submit(ORDER)


def test_at_the_end_what_takes_too_long_is_given_up(generator: _Generator) -> None:
    dispatcher = Dispatcher(generator, room=100, together=1)
    tickets = [_begun(dispatcher, generator), dispatcher.submit(ORDER)]
    dispatcher.close(timeout=0.1)
    for ticket in tickets:
        with pytest.raises(Cancelled):
            ticket.done.result(timeout=5)


def test_other_work_comes_first_and_tells_what_it_came_to(dispatcher: Dispatcher, generator: _Generator) -> None:
    generator.go.set()
    assert dispatcher.call(lambda: threading.current_thread().name).result(timeout=5) == "generator"

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        dispatcher.call(fail).result(timeout=5)
