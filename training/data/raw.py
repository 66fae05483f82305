"""Raw pictures with their captions and masks: found and paired."""

import glob
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from training.data.caption import read_caption

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
RAW, MASKS, REGULARIZATION = "raw", "masks", "regularization"


@dataclass(frozen=True)
class RawPicture:
    """A picture file and the caption beside it, None where there is none; ``notes`` are for the user."""

    path: Path
    caption: str | None
    mask: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The picture relative to its data set, which also tells what it is for."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def caption_file(self) -> Path:
        """Where its caption stands, if it has one."""
        return self.path.with_suffix(".txt")

    @property
    def is_regularization(self) -> bool:
        """Whether it shows what must stay as it is."""
        return self.path.parent.name == REGULARIZATION

    def files(self) -> list[Path]:
        """Every file it consists of."""
        return [path for path in (self.path, self.caption_file, self.mask) if path is not None and path.exists()]


def find(dataset: Path) -> list[RawPicture]:
    """The pictures of ``dataset`` by name, each with the caption and mask of the same name, and those for regularization after.

    Raises ``BadInput`` when there are none in raw, when two pictures would share one caption, or a mask has no picture.
    """
    folder = dataset / RAW
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder. Put pictures and captions there; datasets/README.md shows how.")
    paths = _pictures_in(folder)
    if not paths:
        raise BadInput(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}) are in it. datasets/README.md shows how to lay out a data set."
        )
    masks = {path.stem: path for path in _pictures_in(dataset / MASKS)}
    found = [RawPicture(path, read_caption(path.with_suffix(".txt")), masks.pop(path.stem, None)) for path in paths]
    if masks:
        left = min(masks.values())
        raise BadInput(f"{left}: there is no picture of that name in {folder}. Name a mask as its picture, or remove it.")
    return found + [RawPicture(path, read_caption(path.with_suffix(".txt"))) for path in _pictures_in(dataset / REGULARIZATION)]


def unused(dataset: Path) -> list[tuple[Path, str]]:
    """What lies among the pictures and is not used, each with the reason; hidden files are not spoken of."""
    found = []
    for folder in (dataset / RAW, dataset / MASKS, dataset / REGULARIZATION):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not path.name.startswith(".") and not _is_picture(path) and (reason := _reason(path, folder.name)):
                found.append((path, reason))
    return found


def _reason(path: Path, folder: str) -> str | None:
    """Why what is no picture is not used; None for a picture's caption."""
    if path.is_dir():
        return f"a folder; pictures are looked for in {folder} itself"
    if path.suffix.lower() != ".txt":
        return f"no picture by its ending ({', '.join(SUFFIXES)})"
    if folder == MASKS:
        return "a caption beside a mask; captions belong beside the picture"
    is_read = path.suffix == ".txt" and any(_is_picture(each) for each in path.parent.glob(f"{glob.escape(path.stem)}.*"))
    return None if is_read else "a caption without a picture of its name"


def _pictures_in(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if _is_picture(path)) if folder.is_dir() else []
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise BadInput(
                f"{path}: has the same name as {stems[path.stem].name}, and one caption cannot serve two pictures. Rename one."
            )
        stems[path.stem] = path
    return paths


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and (path.is_file() or path.is_symlink())
