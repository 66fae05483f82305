"""Responses for pages that show many jobs and images. Seeds are text, since a page's numbers end at 2**53.

Paths begin at the server's root: behind a proxy the client puts the prefix before them.
"""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from zthumb.server.api import schema_examples
from zthumb.server.storage.thumbnails import EDGES


def _is_an_edge(edge: int) -> int:
    if edge not in EDGES:
        raise ValueError(f"must be one of {', '.join(map(str, EDGES))}")
    return edge


Edge = Annotated[
    int,
    AfterValidator(_is_an_edge),
    Query(description="the longest edge in pixels", json_schema_extra={"enum": [*EDGES], "examples": [384]}),
]


class EntryImage(BaseModel):
    """An image of a job, and the path of its file."""

    id: str
    seed: str
    path: str


class JobEntry(BaseModel):
    """A job in a list or an event. ``position`` is the number of requests ahead of it, ``progress`` runs from 0 to 1."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created: float = Field(description="seconds since 1970")
    position: int | None = None
    progress: float
    eta_s: float | None = Field(default=None, description="estimated seconds until it is done")
    preview: str | None = Field(default=None, description="the path of a small preview of its first image")
    images: list[EntryImage]
    request: dict[str, Any] = Field(description="what was asked for, its seed as text; what has no value is absent")
    warnings: list[str]
    error: str | None = None


class JobsPage(BaseModel):
    """A page of jobs, the newest first; ``next`` is where the next one begins, null at the end."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.JOBS_PAGE))

    jobs: list[JobEntry]
    next: str | None = None


class GalleryImage(BaseModel):
    """An image of the gallery. ``adapters`` are the hashes of its adapters' files, ``rating`` is 0 for none, else 1 … 5."""

    id: str
    job: str
    seed: str
    path: str
    prompt: str
    model: str
    adapters: list[str]
    width: int
    height: int
    rating: int
    created: float = Field(description="seconds since 1970")


class GalleryAdapter(BaseModel):
    """An adapter that images were generated with: the hash of its file, and its path then."""

    sha256: str
    path: str


class GalleryPage(BaseModel):
    """A page of images, the newest first; ``next`` is where the next one begins, null at the end."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.GALLERY_PAGE))

    images: list[GalleryImage]
    models: list[str] = Field(description="the bases of all images, whatever was asked for")
    adapters: list[GalleryAdapter] = Field(description="the adapters of all images, whatever was asked for")
    next: int | None = None


class ImageChange(BaseModel):
    """What can be changed of an image."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=schema_examples.of_schema({"rating": 4}))

    rating: Annotated[int, Field(ge=0, le=5)]
