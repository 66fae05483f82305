"""Downloads during a request: one request does each download, others are told to retry, and no thread waits in vain."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


async def run_in_thread(function: Callable[[], _Result]) -> _Result:
    """Return what ``function`` returns, called in its own daemon thread, which does not block the server's exit."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)


class DownloadInProgress(Exception):
    """Another request is downloading the model; the message says which."""


class DownloadGuard:
    """The names of running downloads."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def single_flight(self, name: str) -> Iterator[None]:
        """Allow the block to download ``name``; ``DownloadInProgress`` if another block is doing so already."""
        with self._lock:
            if name in self._names:
                raise DownloadInProgress(f"{name} is being downloaded; try again in a while")
            self._names.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names.discard(name)
