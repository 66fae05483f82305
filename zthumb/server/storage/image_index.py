"""The gallery's index: pages of images, found by prompt, model, adapter and rating; ratings, and deletion that can be undone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from zthumb.server.storage.rows import EntryRow, ImageRow, JobRow


@dataclass(frozen=True)
class ImageFilter:
    """Which images are listed: all, or those with ``text`` in the prompt, of ``model``, with an adapter, rated at least so.

    ``adapter`` is the beginning of the hash of its file.
    """

    text: str = ""
    model: str = ""
    adapter: str = ""
    rating: int = 0


@dataclass(frozen=True)
class Entry:
    """An image of the gallery, and when its job was accepted, in seconds since 1970."""

    number: int
    image: str
    job: str
    seed: str
    prompt: str
    model: str
    adapters: tuple[str, ...]
    width: int
    height: int
    rating: int
    created: float


@dataclass(frozen=True)
class UsedAdapter:
    """An adapter that images were generated with: the hash and the path of its file, and the newest of those images."""

    sha256: str
    path: str
    image: str


class ImageIndex:
    """The index of the images in the database of ``sessions``."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._add_missing()

    def page(self, chosen: ImageFilter, before: int | None, limit: int) -> list[Entry]:
        """Return up to ``limit`` images, the newest first, of those that came before the one with the number ``before``."""
        conditions = [EntryRow.deleted.is_(None), *_conditions(chosen)]
        if before is not None:
            conditions.append(EntryRow.number < before)
        statement = (
            select(EntryRow, ImageRow, JobRow.created)
            .join(ImageRow, ImageRow.id == EntryRow.image)
            .join(JobRow, JobRow.id == ImageRow.job)
            .where(*conditions)
            .order_by(EntryRow.number.desc())
            .limit(limit)
        )
        with self._sessions() as session:
            return [_entry(*row) for row in session.execute(statement)]

    def models(self) -> list[str]:
        """Return the references to the bases of all listed images."""
        statement = select(EntryRow.model).where(EntryRow.deleted.is_(None)).distinct().order_by(EntryRow.model)
        with self._sessions() as session:
            return list(session.scalars(statement))

    def adapters(self) -> list[UsedAdapter]:
        """Return the adapters of all listed images, each with its newest image, the one that was used last at the end."""
        newest = (
            select(func.max(EntryRow.number))
            .where(EntryRow.deleted.is_(None), EntryRow.adapters != "")
            .group_by(EntryRow.adapters)
        )
        statement = (
            select(EntryRow.image, JobRow.meta)
            .join(ImageRow, ImageRow.id == EntryRow.image)
            .join(JobRow, JobRow.id == ImageRow.job)
            .where(EntryRow.number.in_(newest))
            .order_by(EntryRow.number)
        )
        found: dict[str, UsedAdapter] = {}
        with self._sessions() as session:
            for image, meta in session.execute(statement):
                for lora in (meta or {}).get("loras", []):
                    found.pop(lora["sha256"], None)
                    found[lora["sha256"]] = UsedAdapter(lora["sha256"], lora["path"], image)
        return list(found.values())

    def rate(self, image: str, rating: int) -> bool:
        """Set the rating of an image, 0 … 5; return whether there is such an image."""
        return self._update(image, {"rating": rating})

    def delete(self, image: str) -> bool:
        """List an image no more; return whether there is such an image. Its file stays until ``purge``."""
        return self._update(image, {"deleted": datetime.now(UTC)})

    def restore(self, image: str) -> bool:
        """List a deleted image again; return whether there is such an image."""
        return self._update(image, {"deleted": None})

    def purge(self, older_than: timedelta) -> list[str]:
        """Remove images that were deleted so long ago; return their files, relative to the data folder."""
        limit = datetime.now(UTC) - older_than
        with self._sessions.begin() as session:
            chosen = select(EntryRow.image).where(EntryRow.deleted.is_not(None), EntryRow.deleted < limit)
            images = list(session.scalars(chosen))
            files = list(session.scalars(select(ImageRow.file).where(ImageRow.id.in_(images))))
            session.execute(delete(EntryRow).where(EntryRow.image.in_(images)))
            session.execute(delete(ImageRow).where(ImageRow.id.in_(images)))
        return files

    def _update(self, image: str, values: dict[str, Any]) -> bool:
        with self._sessions.begin() as session:
            changed = session.execute(update(EntryRow).where(EntryRow.image == image).values(**values))
        return bool(changed.rowcount)  # type: ignore[attr-defined]

    def _add_missing(self) -> None:
        """Add the images of a database from before there was an index."""
        statement = (
            select(JobRow, ImageRow)
            .join(ImageRow, ImageRow.job == JobRow.id)
            .outerjoin(EntryRow, EntryRow.image == ImageRow.id)
            .where(EntryRow.image.is_(None))
            .order_by(JobRow.created, ImageRow.position)
        )
        with self._sessions.begin() as session:
            for job, image in session.execute(statement).all():
                session.add_all(entries(job.request, job.meta or {}, [image]))


def entries(request: Mapping[str, Any], meta: Mapping[str, Any], images: Sequence[ImageRow]) -> list[EntryRow]:
    """Return the entries of a job's ``images``, from its request and what was generated."""
    adapters = " ".join(lora["sha256"] for lora in meta.get("loras", []))
    return [
        EntryRow(
            image=image.id,
            prompt=request.get("prompt", ""),
            model=meta.get("base", ""),
            adapters=f" {adapters} " if adapters else "",
            width=meta.get("width", 0),
            height=meta.get("height", 0),
        )
        for image in images
    ]


def _conditions(chosen: ImageFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if chosen.text:
        conditions.append(EntryRow.prompt.icontains(chosen.text, autoescape=True))
    if chosen.model:
        conditions.append(EntryRow.model == chosen.model)
    if chosen.adapter:
        conditions.append(EntryRow.adapters.contains(f" {chosen.adapter}", autoescape=True))
    if chosen.rating:
        conditions.append(EntryRow.rating >= chosen.rating)
    return conditions


def _entry(row: EntryRow, image: ImageRow, created: Any) -> Entry:
    return Entry(
        number=row.number,
        image=row.image,
        job=image.job,
        seed=image.seed,
        prompt=row.prompt,
        model=row.model,
        adapters=tuple(row.adapters.split()),
        width=row.width,
        height=row.height,
        rating=row.rating,
        created=created.replace(tzinfo=UTC).timestamp(),
    )
