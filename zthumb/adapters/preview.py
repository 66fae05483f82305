"""The picture that shows what an adapter does, where its folder has one."""

from collections.abc import Iterator
from pathlib import Path

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_OF_THE_CARD = "images/01-adapter.png"
"""The first image of the card that the export writes."""


def preview_of(adapter: Path, root: Path) -> Path | None:
    """Return the image that belongs to an ``adapter`` file: one of its name beside it, else the first of its card.

    Interfaces of the field keep it as ``NAME.preview.png`` or ``NAME.png``. A link out of ``root`` is none.
    """
    return next((path for path in _candidates(adapter) if path.is_file() and path.resolve().is_relative_to(root.resolve())), None)


def _candidates(adapter: Path) -> Iterator[Path]:
    for middle in (".preview", ""):
        for suffix in _SUFFIXES:
            yield adapter.with_name(f"{adapter.stem}{middle}{suffix}")
    # The card of a folder of several adapters is that of none of them.
    if adapter.stem == adapter.parent.name:
        yield adapter.parent / _OF_THE_CARD
