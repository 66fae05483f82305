"""Which files are images: told by their first bytes, for an ending is only a name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".heic", ".jxl", ".bmp", ".tif", ".tiff", ".gif")
"""The endings that people are told. A file with one is taken for an image whatever it holds, and refused if it is none."""

_OTHER_ENDINGS = (".jfif", ".jpe", ".heif", ".jp2", ".qoi")
_NEVER = (".txt", ".caption", ".json", ".jsonl", ".csv", ".yaml", ".yml", ".toml", ".md", ".npz", ".safetensors", ".zip")
_STARTS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"qoif",
    b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL ",
)  # fmt: skip
_JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_BRANDS_UP_TO = 64
_JUNK = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")


@dataclass(frozen=True)
class NotAnImage:
    """A file or folder that lies among images and is none; ``reason`` is a clause for people."""

    path: Path
    reason: str


def starts_as_heif(start: bytes) -> bool:
    """Whether a file with these first bytes is HEIC or HEIF, as phones save (ISO/IEC 23008-12), and not AVIF."""
    # mif1 alone says only that there is an image: AVIF files have it too, beside a brand of their own.
    return start[4:8] == b"ftyp" and _names(start, _HEIF_BRANDS) and not _names(start, _AVIF_BRANDS)


def starts_as_jxl(start: bytes) -> bool:
    """Whether a file with these first bytes is JPEG XL (ISO/IEC 18181-2)."""
    return start.startswith(_JXL_STARTS)


def starts_as_image(start: bytes) -> bool:
    """Whether a file with these first bytes, 64 of them, is an image of a format that is read here."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    # Two letters begin many files: a bitmap also has zeros in its sixth to ninth byte.
    is_bitmap = start[:2] == b"BM" and start[6:10] == b"\0\0\0\0"
    is_heif = start[4:8] == b"ftyp" and _names(start, (*_HEIF_BRANDS, *_AVIF_BRANDS))
    return start.startswith(_STARTS) or is_webp or is_bitmap or is_heif


def is_junk(path: Path) -> bool:
    """Whether a system or an archive left it: hidden files, ``._`` files of macOS, thumbnails of Windows."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_image_file(path: Path) -> bool:
    """Whether ``path`` is to be read as an image: by its ending or, where that says nothing, by its first bytes."""
    if is_junk(path) or path.is_dir() or path.suffix.lower() in _NEVER:
        return False
    # A link that leads nowhere is an image that cannot be read, and not nothing.
    if path.suffix.lower() in (*ENDINGS, *_OTHER_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            return starts_as_image(file.read(_BRANDS_UP_TO))
    except OSError:
        return False


def images_in(folder: Path) -> list[Path]:
    """The image files of ``folder`` itself, by name; none where it is not there."""
    return sorted(path for path in folder.iterdir() if is_image_file(path)) if folder.is_dir() else []


def images_below(folder: Path) -> list[Path]:
    """The image files of ``folder`` and of every folder in it, by path; junk folders are not looked into."""
    found = images_in(folder)
    for inner in folders_in(folder):
        found += images_below(inner)
    return sorted(found)


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder`` that are no junk, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path)) if folder.is_dir() else []


def others_in(folder: Path) -> Iterator[NotAnImage]:
    """What lies in ``folder`` and is no image, with the reason; folders are not among it, unless they are junk."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_junk(path):
            yield NotAnImage(path, "left there by a system or an archive")
        elif not path.is_dir() and not is_image_file(path):
            yield NotAnImage(path, f"no image by its content or its ending ({', '.join(ENDINGS)})")


def _names(start: bytes, brands: tuple[bytes, ...]) -> bool:
    """Whether the first box of an ISO media file, its size in the first four bytes, lists one of ``brands``."""
    box = start[8 : min(int.from_bytes(start[:4], "big"), _BRANDS_UP_TO)]
    return any(box[place : place + 4] in brands for place in range(0, len(box), 4) if place != 4)
