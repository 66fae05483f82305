"""The one place where pictures are made: the backends there are, which of them an order goes to, and how tickets are painted."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb import backends
from zthumb.adapters.loaded import Applied
from zthumb.backends.base import BaseBackend, Facts, Limits, Place
from zthumb.memory import room
from zthumb.painting.painter import Picture
from zthumb.server.dispatcher import Cancelled, Painted, Ticket
from zthumb.server.settings import Settings
from zthumb.sources.local import find_base

if TYPE_CHECKING:
    from PIL import Image

_SMALL_TILE = 512
_HEADROOM = 1.3
"""What painting takes, as a multiple of the weights, for the choice of a variant."""


class NoMemory(Exception):
    """There was not enough memory, with the least that can be done either."""


class Studio:
    """Backends, loaded when they are first asked for. All but ``choose`` and what tells of them is for the painter's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.installed = _installed(settings)
        if not self.installed:
            find_base(settings.model)  # says how to get it
        self._loaded: dict[str, BaseBackend] = {}
        self._facts: dict[str, Facts] = {}
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def choose(self, asked: str) -> tuple[str, str]:
        """The variant for a request that ``asked`` for one, and why; ``BadInput`` when it is not here."""
        if asked != "auto":
            if asked not in backends.names():
                raise BadInput(f"variant: none is called {asked!r}. {suggestion(asked, ['auto', *self.installed])}")
            if asked not in self.installed:
                raise BadInput(f"variant: no base for {asked} is here; there are {', '.join(self.installed)}.")
            return asked, "it was asked for"
        free, told, needs = room.free(self._device), list[str](), dict[str, float]()
        for name, place in self.installed.items():
            needs[name] = 0 if name in self._loaded else backends.get(name).weights(place, self._element) * _HEADROOM
            if needs[name] <= free:
                how = "is loaded" if name in self._loaded else f"needs {_gib(needs[name])} of {_gib(free)} that are free"
                return name, "; ".join([*told, f"{name} {how}"])
            told.append(f"{name} would need {_gib(needs[name])} of {_gib(free)} that are free")
        least = min(needs, key=lambda name: needs[name])
        return least, "; ".join([*told, f"{least} is tried all the same"])

    def limits(self, name: str) -> Limits:
        """What the variant called ``name`` can be asked for."""
        return backends.get(name).limits

    def is_loaded(self, name: str) -> bool:
        """Whether the backend called ``name`` is in memory now."""
        return name in self._loaded

    def facts(self, name: str) -> Facts:
        """What is true of the backend called ``name``, which was loaded before."""
        return self._facts[name]

    def backend(self, name: str) -> BaseBackend:
        """The backend called ``name``, loaded now if need be."""
        if name not in self._loaded:
            self._loaded[name] = backends.get(name)(self.installed[name], self.settings.options)
            self._facts[name] = self._loaded[name].facts
        return self._loaded[name]

    def paint(self, tickets: Sequence[Ticket]) -> None:
        """Paint tickets that go together, and set what each is done with."""
        began = time.monotonic()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        # Once more with less: one picture at a time, decoded in tiles, after all that can be done without is given back.
        done = self._attempt(tickets, self.settings.together) or self._attempt(tickets, together=1, tile=_SMALL_TILE)
        if done is None:
            raise NoMemory(
                "there is not enough memory for this request, one picture at a time and decoded in tiles too. Ask for smaller "
                "pictures or fewer adapters."
            )
        images = iter(done.images)
        for ticket, unread in zip(tickets, done.unread, strict=True):
            ticket.done.set_result(
                Painted(
                    images=tuple(next(images) for _ in ticket.order.pictures),
                    applied=done.applied,
                    unread=unread,
                    queue_s=began - ticket.came,
                    lora_s=done.lora_s,
                    generate_s=done.generate_s,
                    together=done.together,
                    tile=done.tile,
                    peak_bytes=room.peak(self._device),
                )
            )

    def _attempt(self, tickets: Sequence[Ticket], together: int, tile: int | None = None) -> "_Done | None":
        """The pictures of all tickets; None where memory ran out, of which all that can be is given back then."""
        try:
            return _under_adapters(self.backend(tickets[0].order.backend), tickets, together, tile)
        except Exception as error:
            if not room.is_short(error):
                raise
        # After the exception is gone: it holds on to every tensor of what it came out of.
        self._give_back(keep=tickets[0].order.backend)
        return None

    def _give_back(self, keep: str) -> None:
        """All that can be done without: the other backends, which are loaded again when they are asked for, and adapters."""
        self._loaded = {name: backend for name, backend in self._loaded.items() if name == keep}
        for backend in self._loaded.values():
            backend.spare()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _element(self) -> int:
        asked = self.settings.precision
        return 4 if asked == "fp32" or (asked == "auto" and self._device.type == "cpu") else 2


def _installed(settings: Settings) -> dict[str, Place]:
    """The variants that are here, the preferred first, each with what it runs."""
    found = {}
    for name in sorted(backends.names(), key=lambda name: backends.get(name).preference):
        own = getattr(settings, f"{name}_model", None)
        place = backends.get(name).find(Path(settings.model), Path(own) if own else None)
        if place is not None:
            found[name] = place
        elif own:
            raise BadInput(f"ZTHUMB_{name.upper()}_MODEL: nothing that variant {name} can run is at {own}.")
    return found


@dataclass(frozen=True)
class _Done:
    images: list["Image.Image"]
    applied: Applied
    unread: tuple[Mapping[str, str], ...]
    lora_s: float
    generate_s: float
    together: int
    tile: int | None


def _under_adapters(backend: BaseBackend, tickets: Sequence[Ticket], together: int, tile: int | None = None) -> _Done:
    """The pictures of all tickets under the adapters that they share."""
    together = 1 if tickets[0].order.deterministic else together
    started = time.monotonic()
    with backend.under(tickets[0].order.loras) as applied:
        ready = time.monotonic()
        images = _painted(backend, tickets, applied.words, together, tile)
        unread = tuple(_unread(backend, ticket.order.pictures[0], applied.words) for ticket in tickets)
    return _Done(images, applied, unread, ready - started, time.monotonic() - ready, min(len(images), together), tile)


def _unread(backend: BaseBackend, picture: Picture, words: Mapping[str, int]) -> dict[str, str]:
    """The ends of both prompts that are not read, by the field of the request."""
    told = {"prompt": picture, "negative_prompt": replace(picture, prompt=picture.negative_prompt or "")}
    found = {field: backend.unread(each, words) for field, each in told.items()}
    return {field: end for field, end in found.items() if end}


def _painted(
    backend: BaseBackend, tickets: Sequence[Ticket], words: Mapping[str, int], together: int, tile: int | None
) -> list["Image.Image"]:
    """The pictures of all tickets, so many at once."""
    pictures = [picture for ticket in tickets for picture in ticket.order.pictures]
    groups = list(_groups(pictures, together))
    done, made = 0, list["Image.Image"]()
    # The number of each ticket's first picture → the ticket.
    starts = accumulate((len(ticket.order.pictures) for ticket in tickets), initial=0)
    firsts = dict(zip(starts, tickets, strict=False))

    def watch(step: int, latents: torch.Tensor) -> None:
        if all(ticket.is_cancelled for ticket in tickets):
            raise Cancelled
        for ticket in tickets:
            ticket.progress = (done + step) / (len(groups) * pictures[0].steps)
        for place in range(len(latents)):
            if shown := firsts.get(len(made) + place):
                shown.sketch = partial(backend.sketch, latents[place : place + 1])

    for group in groups:
        made += backend.paint(group, watch, words, tile)
        done += pictures[0].steps
    return made


def _groups(pictures: Sequence[Picture], together: int) -> Iterator[Sequence[Picture]]:
    return (pictures[start : start + together] for start in range(0, len(pictures), together))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
