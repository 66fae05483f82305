"""What is fetched while somebody waits: one request does it, others are told to come again, and no thread waits in vain."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


async def run_in_thread(call: Callable[[], _Result]) -> _Result:
    """What ``call`` gives, called in a thread of its own, which nobody waits for when the server ends."""
    done: Future[_Result] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(done)


class BeingFetched(Exception):
    """A model is on its way; the message says which."""


class DownloadGuard:
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
