"""Images that are kept: files in the data folder, called by their ids, with a row in the store for each."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import StageFailed
from foundation.files import atomic_file
from zthumb.server.files import encoded
from zthumb.server.settings import OutputFormat
from zthumb.server.store import ImageRow, Store

if TYPE_CHECKING:
    from PIL import Image

FOLDER = "images"


class Gallery:
    """The images of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(
        self, job: str, images: Sequence[tuple["Image.Image", int, Mapping[str, Any]]], output_format: OutputFormat
    ) -> list[ImageRow]:
        """Write the files of a job's ``images``, each with its seed and parameters; their rows are still to be kept.

        ``StageFailed`` where they cannot be written.
        """
        rows = []
        for place, (image, seed, parameters) in enumerate(images):
            name = uuid.uuid4().hex
            path = self._store.folder / FOLDER / name[:2] / f"{name}.{output_format}"
            try:
                with atomic_file(path) as temporary:
                    temporary.write_bytes(encoded(image, output_format, parameters))
            except OSError as error:
                raise StageFailed(f"an image was made and cannot be kept: {error.strerror}.") from None
            file = path.relative_to(self._store.folder).as_posix()
            rows.append(ImageRow(id=name, job=job, place=place, seed=str(seed), file=file))
        return rows

    def path(self, image: str) -> Path | None:
        """The file of the image of that id; None where there is none, or none any more."""
        row = self._store.image(image)
        path = None if row is None else self._store.folder / row.file
        return path if path is not None and path.is_file() else None
