"""What is fetched while somebody waits: one request does it, others are told to come again, and no thread waits in vain."""

import contextlib
import threading
from collections.abc import Iterator


class BeingFetched(Exception):
    """A model is on its way; the message says which."""


class Fetching:
    """The names of what is being fetched."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Fetch ``name`` inside the block; ``BeingFetched`` if another does already."""
        with self._lock:
            if name in self._names:
                raise BeingFetched(f"{name} is being fetched; ask again in a while")
            self._names.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names.discard(name)
