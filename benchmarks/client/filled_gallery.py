"""A server's data folder with any number of images, all of one small file, as if they had been generated one a minute."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from zthumb.server.storage.rows import EntryRow, ImageRow, JobRow
from zthumb.server.storage.store import Store

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_AT_ONCE = 1000


def fill(folder: Path, count: int, prompt_of: Callable[[int], str]) -> None:
    """Write ``count`` images to the new data folder ``folder``; ``prompt_of`` returns the prompt of each by its number."""
    Store(folder).close()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "png")
    (folder / "images").mkdir()
    (folder / "images" / "one.png").write_bytes(buffer.getvalue())
    with Session(create_engine(f"sqlite:///{folder / 'zthumb.sqlite3'}")) as session, session.begin():
        for index in range(count):
            created, request = _FIRST + timedelta(minutes=index), {"prompt": prompt_of(index)}
            session.add(JobRow(id=f"job{index:05}", state="done", request=request, created=created))
            session.add(ImageRow(id=_image(index), job=f"job{index:05}", position=0, seed=str(index), file="images/one.png"))
            if index % _AT_ONCE == _AT_ONCE - 1:
                session.flush()
        session.flush()
        for index in range(count):
            session.add(EntryRow(image=_image(index), prompt=prompt_of(index), model="m", adapters="", width=64, height=64))


def _image(index: int) -> str:
    return f"image{index:05}"
