"""The one place where pictures are made: the backends there are, which of them an order goes to, and how tickets are painted."""

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from foundation.errors import BadInput
from zthumb import backends
from zthumb.backends.base import BaseBackend, Limits
from zthumb.memory import room
from zthumb.painting.painter import Picture
from zthumb.server.dispatcher import Cancelled, Painted, Ticket
from zthumb.server.orders import installed
from zthumb.server.settings import Settings
from zthumb.sources.local import find_base

if TYPE_CHECKING:
    from PIL import Image

_HEADROOM = 1.3
"""What painting takes, as a multiple of the weights, for the choice of a variant."""


class Studio:
    """Backends, loaded when they are first asked for. All but ``choose`` and what tells of them is for the painter's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.installed: Mapping[str, Path] = installed(settings)
        if not self.installed:
            find_base(settings.model)  # says how to get it
        self._loaded: dict[str, BaseBackend] = {}
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def choose(self, asked: str) -> tuple[str, str]:
        """The variant for a request that ``asked`` for one, and why; ``BadInput`` when it is not here."""
        if asked != "auto":
            if asked not in self.installed:
                raise BadInput(f"variant: no base for {asked} is here; there are {', '.join(self.installed)}.")
            return asked, "it was asked for"
        free, told = room.free(self._device), list[str]()
        for name, folder in self.installed.items():
            needed = 0 if name in self._loaded else room.weights(folder, self._element) * _HEADROOM
            if needed <= free:
                how = "is loaded" if name in self._loaded else f"needs {_gib(needed)} of {_gib(free)} that are free"
                return name, "; ".join([*told, f"{name} {how}"])
            told.append(f"{name} would need {_gib(needed)} of {_gib(free)} that are free")
        last = next(iter(self.installed))
        return last, "; ".join([*told, f"{last} is tried all the same"])

    def limits(self, name: str) -> Limits:
        """What the variant called ``name`` can be asked for."""
        return backends.get(name).limits

    def loaded(self, name: str) -> BaseBackend | None:
        """The backend called ``name``, if it was asked for before."""
        return self._loaded.get(name)

    def backend(self, name: str) -> BaseBackend:
        """The backend called ``name``, loaded now if need be."""
        if name not in self._loaded:
            self._loaded[name] = backends.get(name)(find_base(str(self.installed[name])), self.settings.options)
        return self._loaded[name]

    def paint(self, tickets: Sequence[Ticket]) -> None:
        """Paint tickets that go together, and set what each is done with."""
        order, began = tickets[0].order, time.monotonic()
        backend = self.backend(order.backend)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        loaded = time.monotonic()
        with backend.under(order.loras) as sha256:
            applied = time.monotonic()
            made = _painted(backend, tickets, self.settings.together)
        finished = time.monotonic()
        images = iter(made)
        for ticket in tickets:
            ticket.done.set_result(
                Painted(
                    images=tuple(next(images) for _ in ticket.order.pictures),
                    sha256=tuple(sha256),
                    queue_s=began - ticket.came,
                    lora_s=applied - loaded,
                    generate_s=finished - applied,
                    together=1 if ticket.order.deterministic else min(len(made), self.settings.together),
                    peak_bytes=self._peak_bytes(),
                )
            )

    @property
    def _element(self) -> int:
        asked = self.settings.precision
        return 4 if asked == "fp32" or (asked == "auto" and self._device.type == "cpu") else 2

    def _peak_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _painted(backend: BaseBackend, tickets: Sequence[Ticket], together: int) -> list["Image.Image"]:
    """The pictures of all tickets, so many at once or, where they must be the same to the last bit, one after the other."""
    pictures = [picture for ticket in tickets for picture in ticket.order.pictures]
    groups = list(_groups(pictures, 1 if tickets[0].order.deterministic else together))
    done, made = 0, list["Image.Image"]()

    def watch(step: int) -> None:
        if all(ticket.is_cancelled for ticket in tickets):
            raise Cancelled
        for ticket in tickets:
            ticket.progress = (done + step) / (len(groups) * pictures[0].steps)

    for group in groups:
        made += backend.paint(group, watch)
        done += pictures[0].steps
    return made


def _groups(pictures: Sequence[Picture], together: int) -> Iterator[Sequence[Picture]]:
    return (pictures[start : start + together] for start in range(0, len(pictures), together))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
