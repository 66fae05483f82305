"""Progress of downloads, told on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from zthumb.sources.download import ProgressCallback


@contextmanager
def bars() -> Iterator[Callable[[str], ProgressCallback]]:
    """A progress bar for every file, by its name."""
    shown: dict[str, tqdm[Any]] = {}

    def watch(name: str) -> ProgressCallback:
        def tell(have: int, total: int | None) -> None:
            if name not in shown:
                shown[name] = tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True)
            shown[name].update(have - shown[name].n)

        return tell

    try:
        yield watch
    finally:
        for bar in shown.values():
            bar.close()
