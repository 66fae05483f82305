"""The saved images: files in the data folder, named by their ids, each with a row in the store."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import StageFailed
from foundation.files import atomic_file
from zthumb.server.settings import OutputFormat
from zthumb.server.storage import thumbnails
from zthumb.server.storage.image_encoder import encode_image
from zthumb.server.storage.rows import ImageRow
from zthumb.server.storage.store import Store

if TYPE_CHECKING:
    from PIL import Image

FOLDER = "images"


_UNDO = timedelta(days=7)
"""How long a deletion can be undone."""


class Gallery:
    """The saved images of one server, and their ``index``."""

    def __init__(self, store: Store) -> None:
        self._store, self.index = store, store.index
        for file in self.index.purge(_UNDO):
            (store.folder / file).unlink(missing_ok=True)
            thumbnails.remove(Path(file).stem, store.folder)

    def write(
        self, job_id: str, images: Sequence[tuple["Image.Image", int, Mapping[str, Any]]], output_format: OutputFormat
    ) -> list[ImageRow]:
        """Write the files of a job's ``images``, each with its seed and parameters; return their rows, not stored yet.

        Raises ``StageFailed`` if a file cannot be written.
        """
        rows = []
        for position, (image, seed, parameters) in enumerate(images):
            image_id = uuid.uuid4().hex
            path = self._store.folder / FOLDER / image_id[:2] / f"{image_id}.{output_format}"
            try:
                with atomic_file(path) as temporary:
                    temporary.write_bytes(encode_image(image, output_format, parameters))
            except OSError as error:
                raise StageFailed(f"an image was generated but cannot be saved: {error.strerror}.") from None
            file = path.relative_to(self._store.folder).as_posix()
            rows.append(ImageRow(id=image_id, job=job_id, position=position, seed=str(seed), file=file))
        return rows

    def thumbnail(self, image_id: str, edge: int) -> Path | None:
        """Return the file of a small version of an image; None if there is no such image or its file was deleted."""
        path = self.path(image_id)
        return None if path is None else thumbnails.thumbnail(path, self._store.folder, edge)

    def path(self, image_id: str) -> Path | None:
        """Return the file of an image; None if there is no such image or its file was deleted."""
        row = self._store.get_image(image_id)
        path = None if row is None else self._store.folder / row.file
        return path if path is not None and path.is_file() else None
