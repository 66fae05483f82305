"""Progress bars of downloads on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from zthumb.sources.download import ProgressCallback


@contextmanager
def bars() -> Iterator[Callable[[str], ProgressCallback]]:
    """Yield a function that returns the progress callback of a file, by name; each file gets a bar."""
    open_bars: dict[str, tqdm[Any]] = {}

    def on_progress(name: str) -> ProgressCallback:
        def update(received: int, total: int | None) -> None:
            if name not in open_bars:
                open_bars[name] = tqdm(desc=name, total=total, initial=received, unit="B", unit_scale=True)
            open_bars[name].update(received - open_bars[name].n)

        return update

    try:
        yield on_progress
    finally:
        for bar in open_bars.values():
            bar.close()
