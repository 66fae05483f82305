"""Which files are images: decided by their first bytes, because an extension is only a name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".heic", ".jxl", ".bmp", ".tif", ".tiff", ".gif")
"""The extensions that messages list. A file with one of them is taken for an image, and refused if its content is none."""

_OTHER_ENDINGS = (".jfif", ".jpe", ".heif", ".jp2", ".qoi")
_NEVER_IMAGES = (".txt", ".caption", ".json", ".jsonl", ".csv", ".yaml", ".yml", ".toml", ".md", ".npz", ".safetensors", ".zip")
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"qoif",
    b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL ",
)  # fmt: skip
_JXL_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_HEADER_BYTES = 64
_JUNK = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")


@dataclass(frozen=True)
class NotAnImage:
    """A file or folder among images that is not one; ``reason`` is a clause for a message."""

    path: Path
    reason: str


def starts_as_heif(start: bytes) -> bool:
    """Return whether a file that starts with these 64 bytes is HEIC or HEIF, as phones save it (ISO/IEC 23008-12), not AVIF."""
    # mif1 alone says only that there is an image: AVIF files list it too, next to a brand of their own.
    return start[4:8] == b"ftyp" and _has_brand(start, _HEIF_BRANDS) and not _has_brand(start, _AVIF_BRANDS)


def starts_as_jxl(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is JPEG XL (ISO/IEC 18181-2)."""
    return start.startswith(_JXL_SIGNATURES)


def starts_as_image(start: bytes) -> bool:
    """Return whether a file that starts with these 64 bytes is an image of a supported format."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    # Many files begin with these two letters: a bitmap also has zeros in bytes 6 to 9.
    is_bitmap = start[:2] == b"BM" and start[6:10] == b"\0\0\0\0"
    is_heif = start[4:8] == b"ftyp" and _has_brand(start, (*_HEIF_BRANDS, *_AVIF_BRANDS))
    return start.startswith(_SIGNATURES) or is_webp or is_bitmap or is_heif


def is_junk(path: Path) -> bool:
    """Return whether an operating system or archiver left it: hidden files, ``._`` files of macOS, thumbnails of Windows."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_image_file(path: Path) -> bool:
    """Return whether to read ``path`` as an image: by its extension or, where that is unknown, by its first bytes."""
    if is_junk(path) or path.is_dir() or path.suffix.lower() in _NEVER_IMAGES:
        return False
    # A broken link counts as an image that cannot be read, so that it is reported and not skipped.
    if path.suffix.lower() in (*ENDINGS, *_OTHER_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            return starts_as_image(file.read(_HEADER_BYTES))
    except OSError:
        return False


def images_in(folder: Path) -> list[Path]:
    """Return the image files directly in ``folder``, by name; empty if the folder does not exist."""
    return sorted(path for path in folder.iterdir() if is_image_file(path)) if folder.is_dir() else []


def images_below(folder: Path) -> list[Path]:
    """Return the image files in ``folder`` and all its subfolders except junk folders, sorted by path."""
    paths = images_in(folder)
    for subfolder in folders_in(folder):
        paths += images_below(subfolder)
    return sorted(paths)


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders of ``folder`` that are not junk, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path)) if folder.is_dir() else []


def list_non_images(folder: Path) -> Iterator[NotAnImage]:
    """Yield the entries of ``folder`` that are not images, with the reason; of subfolders only junk ones."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_junk(path):
            yield NotAnImage(path, "left there by an operating system or an archiver")
        elif not path.is_dir() and not is_image_file(path):
            yield NotAnImage(path, f"not an image by its content or its extension ({', '.join(ENDINGS)})")


def _has_brand(start: bytes, brands: tuple[bytes, ...]) -> bool:
    """Return whether the first box of an ISO media file, its size in the first four bytes, lists one of ``brands``."""
    box = start[8 : min(int.from_bytes(start[:4], "big"), _HEADER_BYTES)]
    # At offset 4 is the minor version, which is not a brand.
    return any(box[offset : offset + 4] in brands for offset in range(0, len(box), 4) if offset != 4)
