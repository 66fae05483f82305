"""Raw pictures and their captions: found, paired, opened."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from foundation.errors import BadInput

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class RawPicture:
    """A picture file and the caption beside it; None where there is none."""

    path: Path
    caption: str | None


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
    return [RawPicture(path, _caption(path.with_suffix(".txt"))) for path in paths]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and (path.is_file() or path.is_symlink())


def open_picture(path: Path) -> Image.Image:
    """The picture upright and in RGB; ``BadInput`` names a file that cannot be read whole."""
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"{path}: the file is empty. Replace it, or take it out of the folder.")
        with Image.open(path) as picture:
            picture.load()
            return _on_white(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise BadInput(f"{path}: not a picture, whatever its name says. Replace it, or take it out of the folder.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path}: cannot be read whole ({error}). Replace it, or take it out of the folder.") from None


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture in RGB, transparent parts white: what lies below transparency was never meant to be seen."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    upright = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


def _caption(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split()) or None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8 text. Save it as UTF-8.") from None
