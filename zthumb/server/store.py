"""What outlives the process: jobs and images, in SQLite, with the images' files beside it."""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKey, create_engine, event, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from foundation.errors import BadInput

State = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "running")
_FILE = "zthumb.sqlite3"


class _Base(DeclarativeBase):
    pass


class JobRow(_Base):
    """A job: the request with its seed, and what came of it."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(index=True)
    finished: Mapped[datetime | None] = mapped_column(default=None)
    meta: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    error: Mapped[str | None] = mapped_column(default=None)


class ImageRow(_Base):
    """An image of a job; its file is called by its ``id``."""

    __tablename__ = "images"

    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    place: Mapped[int]
    seed: Mapped[str]  # as text: SQLite's numbers end where seeds do not
    file: Mapped[str]


class Store:
    """Jobs and images in ``folder``, one server's alone. Every change is whole or not there, whatever kills the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BadInput(f"{folder}: another server keeps its jobs here. Choose another folder (ZTHUMB_DATA_FOLDER).") from None
        self._engine = create_engine(f"sqlite:///{folder / _FILE}")
        event.listen(self._engine, "connect", _prepare)
        _Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Let go of the folder."""
        self._engine.dispose()
        self._lock.close()

    def add(self, job: str, request: dict[str, Any]) -> None:
        """A job that waits."""
        with self._session() as session:
            session.add(JobRow(id=job, state="queued", request=request, created=_now()))

    def end(self, job: str, state: State, error: str | None = None) -> None:
        """What has become of a job without images; one that has ended stays as it is."""
        with self._session() as session:
            self._end(session, job, {"state": state, "error": error})

    def finish(self, job: str, meta: dict[str, Any], warnings: Sequence[str], images: Sequence[ImageRow]) -> None:
        """A job that is done, with its images, whose files are there already; one that has ended stays as it is."""
        with self._session() as session:
            if self._end(session, job, {"state": "done", "meta": meta, "warnings": list(warnings)}):
                session.add_all(images)

    def _end(self, session: Session, job: str, values: dict[str, Any]) -> bool:
        is_open = (JobRow.id == job, JobRow.state.in_(OPEN))
        changed = session.execute(update(JobRow).where(*is_open).values(**values, finished=_now()))
        return bool(changed.rowcount)  # type: ignore[attr-defined]

    def job(self, job: str) -> JobRow | None:
        """The job of that id."""
        with self._session() as session:
            return session.get(JobRow, job)

    def images(self, job: str) -> list[ImageRow]:
        """A job's images in their request."""
        with self._session() as session:
            return list(session.scalars(select(ImageRow).where(ImageRow.job == job).order_by(ImageRow.place)))

    def image(self, image: str) -> ImageRow | None:
        """The image of that id."""
        with self._session() as session:
            return session.get(ImageRow, image)

    def open_jobs(self) -> list[JobRow]:
        """Those that are neither done nor given up, in the request they came."""
        with self._session() as session:
            return list(session.scalars(select(JobRow).where(JobRow.state.in_(OPEN)).order_by(JobRow.created)))

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session


def _prepare(connection: Any, _: Any) -> None:
    # Readers do not wait for the writer, and what is committed survives a kill.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _now() -> datetime:
    return datetime.now(UTC)
