"""Small versions of stored images, made when they are first asked for and kept beside them."""

from pathlib import Path

from foundation.errors import StageFailed
from foundation.files import atomic_file

FOLDER = "thumbnails"
EDGES = (192, 384, 768)
"""The longest edge in pixels of each size that there is."""
_QUALITY = 82


def thumbnail(image: Path, folder: Path, edge: int) -> Path:
    """Return the file of a small version of the file ``image``, below the data ``folder``, in WebP; never larger than it.

    Raises ``StageFailed`` if the image cannot be read or the file not be written.
    """
    target = _file(image.stem, folder, edge)
    if not target.is_file():
        from PIL import Image

        try:
            with Image.open(image) as opened:
                small = opened.convert("RGB")
                small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
            with atomic_file(target) as temporary:
                small.save(temporary, format="webp", quality=_QUALITY)
        except OSError as error:
            raise StageFailed(f"the small version of an image cannot be made: {error}") from None
    return target


def remove(image_id: str, folder: Path) -> None:
    """Remove the small versions of an image from the data ``folder``."""
    for edge in EDGES:
        _file(image_id, folder, edge).unlink(missing_ok=True)


def _file(image_id: str, folder: Path, edge: int) -> Path:
    return folder / FOLDER / str(edge) / image_id[:2] / f"{image_id}.webp"
