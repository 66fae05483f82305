"""Raw pictures and their captions: found and paired."""

from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from training.data.caption import read_caption

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class RawPicture:
    """A picture file and the caption beside it, None where there is none; ``notes`` are for the user."""

    path: Path
    caption: str | None
    notes: tuple[str, ...] = ()


def find(folder: Path) -> list[RawPicture]:
    """The pictures in ``folder`` by name, each with the caption of the same name.

    Raises ``BadInput`` when there are none, or when two pictures would share one caption.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder. Put pictures and captions there; datasets/README.md shows how.")
    paths = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not paths:
        raise BadInput(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}) are in it. datasets/README.md shows how to lay out a data set."
        )
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise BadInput(
                f"{path}: has the same name as {stems[path.stem].name}, and one caption cannot serve two pictures. Rename one."
            )
        stems[path.stem] = path
    return [RawPicture(path, read_caption(path.with_suffix(".txt"))) for path in paths]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and (path.is_file() or path.is_symlink())
