"""Persistent state: jobs and images in SQLite, with the images' files in the same folder."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from sqlalchemy import create_engine, event, select, tuple_, update
from sqlalchemy.orm import Session, sessionmaker

from foundation.errors import BadInput
from zthumb.server.storage.image_index import ImageIndex, entries
from zthumb.server.storage.rows import Base, ImageRow, JobRow

State = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN_STATES: tuple[State, ...] = ("queued", "running")
_FILE = "zthumb.sqlite3"


class Store:
    """Jobs and images in ``folder``, which only one server may use. Every change is atomic, even if the process is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise BadInput(f"{folder}: another server keeps its jobs here. Choose another folder (ZTHUMB_DATA_FOLDER).") from None
        self._engine = create_engine(f"sqlite:///{folder / _FILE}")
        event.listen(self._engine, "connect", _set_pragmas)
        Base.metadata.create_all(self._engine)
        self.index = ImageIndex(sessionmaker(self._engine, expire_on_commit=False))

    def close(self) -> None:
        """Release the folder."""
        self._engine.dispose()
        self._lock.release()

    def add_job(self, job_id: str, request: dict[str, Any]) -> None:
        """Store a queued job."""
        with self._session() as session:
            session.add(JobRow(id=job_id, state="queued", request=request, created=_now()))

    def end_job(self, job_id: str, state: State, error: str | None = None) -> None:
        """Store the outcome of a job that has no images; a job that has ended stays as it is."""
        with self._session() as session:
            self._end_job(session, job_id, {"state": state, "error": error})

    def finish_job(self, job_id: str, meta: dict[str, Any], warnings: Sequence[str], images: Sequence[ImageRow]) -> None:
        """Store a job as done, with its images, whose files are written already; a job that has ended stays as it is."""
        with self._session() as session:
            if self._end_job(session, job_id, {"state": "done", "meta": meta, "warnings": list(warnings)}):
                job = session.get_one(JobRow, job_id)
                session.add_all(images)
                session.flush()
                session.add_all(entries(job.request, meta, images))

    def _end_job(self, session: Session, job_id: str, values: dict[str, Any]) -> bool:
        """Update a job if it is still open; return whether it was."""
        is_open = (JobRow.id == job_id, JobRow.state.in_(OPEN_STATES))
        changed = session.execute(update(JobRow).where(*is_open).values(**values, finished=_now()))
        return bool(changed.rowcount)  # type: ignore[attr-defined]

    def get_job(self, job_id: str) -> JobRow | None:
        """Return the job with that id, or None."""
        with self._session() as session:
            return session.get(JobRow, job_id)

    def get_jobs(self, job_ids: Sequence[str]) -> list[JobRow]:
        """Return the jobs with those ids, in that order, without those that are not there."""
        with self._session() as session:
            found = {row.id: row for row in session.scalars(select(JobRow).where(JobRow.id.in_(job_ids)))}
        return [found[job_id] for job_id in job_ids if job_id in found]

    def images_of(self, job_ids: Sequence[str]) -> dict[str, list[ImageRow]]:
        """Return the images of several jobs, each job's in their order."""
        images = defaultdict[str, list[ImageRow]](list)
        with self._session() as session:
            for row in session.scalars(select(ImageRow).where(ImageRow.job.in_(job_ids)).order_by(ImageRow.position)):
                images[row.job].append(row)
        return images

    def get_images(self, job_id: str) -> list[ImageRow]:
        """Return a job's images in their order."""
        with self._session() as session:
            return list(session.scalars(select(ImageRow).where(ImageRow.job == job_id).order_by(ImageRow.position)))

    def get_image(self, image_id: str) -> ImageRow | None:
        """Return the image with that id, or None."""
        with self._session() as session:
            return session.get(ImageRow, image_id)

    def page_of_jobs(self, before: str | None, limit: int) -> list[JobRow]:
        """Return up to ``limit`` jobs, the newest first, of those that were accepted before the one called ``before``."""
        newest_first = select(JobRow).order_by(JobRow.created.desc(), JobRow.id.desc()).limit(limit)
        with self._session() as session:
            last = session.get(JobRow, before) if before is not None else None
            if last is not None:
                newest_first = newest_first.where(tuple_(JobRow.created, JobRow.id) < (last.created, last.id))
            return list(session.scalars(newest_first))

    def open_jobs(self) -> list[JobRow]:
        """Return the jobs that have not ended, in the order they were submitted."""
        with self._session() as session:
            return list(session.scalars(select(JobRow).where(JobRow.state.in_(OPEN_STATES)).order_by(JobRow.created)))

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session


def _set_pragmas(connection: Any, _: Any) -> None:
    # Readers do not wait for the writer, and committed data survives a kill.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _now() -> datetime:
    return datetime.now(UTC)
