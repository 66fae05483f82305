"""The tables of the server's database: jobs, their images, and what images are found by."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base class of all tables. A table that exists is never altered: what is new is a table of its own."""


class JobRow(Base):
    """A job: the request with its seed, and its outcome."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(index=True)
    finished: Mapped[datetime | None] = mapped_column(default=None)
    meta: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    error: Mapped[str | None] = mapped_column(default=None)


class ImageRow(Base):
    """An image of a job; its file is named after its ``id``."""

    __tablename__ = "images"

    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    # The index of the image in its job. The column keeps the name that it has in existing databases.
    position: Mapped[int] = mapped_column("place")
    seed: Mapped[str]  # as text, so that SQLite's 64-bit integers do not limit seeds
    file: Mapped[str]


class EntryRow(Base):
    """What an image of the gallery is listed and found by.

    ``number`` counts up, so that a page begins after the last one of the page before. ``model`` is the reference to the base,
    ``adapters`` the hashes of its adapters' files, each between spaces.
    """

    __tablename__ = "gallery"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    image: Mapped[str] = mapped_column(ForeignKey("images.id"), unique=True)
    prompt: Mapped[str]
    model: Mapped[str] = mapped_column(index=True)
    adapters: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    rating: Mapped[int] = mapped_column(default=0, index=True)
    deleted: Mapped[datetime | None] = mapped_column(default=None, index=True)
