"""Which backends are in memory: several at once, the least recently used unloaded first, idle ones after a while."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.device import free_cached_memory
from zthumb.backends.base import BaseBackend
from zthumb.server.queue.memory_planner import PlannedBackend

LocationKey = tuple[str, Path, Path]
"""The variant and the resolved paths of its weights: two names of one base share one backend."""


@dataclass
class _Loaded:
    backend: BaseBackend
    planned: PlannedBackend
    is_pinned: bool
    used_at: float


class LoadedBackends:
    """The backends in memory on ``device``; one that is not pinned is idle after ``idle_s`` seconds without an image.

    All but ``in`` and ``seconds_until_idle`` must be called in the generator thread.
    """

    def __init__(self, device: torch.device, idle_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._device, self._idle_s, self._clock = device, idle_s, clock
        self._loaded: dict[LocationKey, _Loaded] = {}

    def __contains__(self, key: LocationKey) -> bool:
        return key in self._loaded

    def __iter__(self) -> Iterator[BaseBackend]:
        return (loaded.backend for loaded in list(self._loaded.values()))

    def add(self, key: LocationKey, backend: BaseBackend, planned: PlannedBackend, is_pinned: bool) -> None:
        """Keep a backend that was just loaded; one that ``is_pinned`` is only unloaded with all the others."""
        self._loaded[key] = _Loaded(backend, planned, is_pinned, self._clock())

    def use(self, key: LocationKey) -> BaseBackend:
        """Return a loaded backend, which is not idle from now on."""
        self._loaded[key].used_at = self._clock()
        return self._loaded[key].backend

    def planned_beside(self, key: LocationKey) -> list[PlannedBackend]:
        """Return what was planned for each other one than ``key``."""
        return [loaded.planned for other, loaded in self._loaded.items() if other != key]

    def make_room(self, fits: Callable[[], bool], keep: LocationKey) -> None:
        """Unload backends, the least recently used first, until another one ``fits``; pinned ones and ``keep`` stay."""
        while not fits():
            others = [key for key, loaded in self._loaded.items() if key != keep and not loaded.is_pinned]
            if not others:
                return
            del self._loaded[min(others, key=lambda key: self._loaded[key].used_at)]
            self._free()

    def clear(self) -> None:
        """Unload all."""
        self._loaded.clear()
        self._free()

    def seconds_until_idle(self) -> float | None:
        """Return when the next backend is idle; None if there is none that will be."""
        if self._idle_s is None:
            return None
        used = [loaded.used_at for loaded in list(self._loaded.values()) if not loaded.is_pinned]
        return max(0.0, min(used) + self._idle_s - self._clock()) if used else None

    def unload_idle(self) -> None:
        """Unload the backends that are idle."""
        if self._idle_s is None:
            return
        before = len(self._loaded)
        idle_since = self._clock() - self._idle_s
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if loaded.is_pinned or loaded.used_at > idle_since}
        if len(self._loaded) < before:
            self._free()

    def _free(self) -> None:
        gc.collect()
        free_cached_memory(self._device)
