"""Jobs as lists and events show them, and what of them changed since the last look."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from zthumb.server.api.gallery_schemas import EntryImage, JobEntry, JobsPage
from zthumb.server.queue.background_jobs import Jobs
from zthumb.server.queue.generation_queue import Outlook, QueuedRequest
from zthumb.server.service import Service
from zthumb.server.storage.rows import ImageRow, JobRow
from zthumb.server.storage.store import OPEN_STATES, State, Store

_SHOWN_POSITIONS = 20
"""Positions beyond are not followed one by one, or each job that ends would be news of all that wait."""


class JobListing:
    """The jobs of one server, open and ended."""

    def __init__(self, jobs: Jobs, service: Service, store: Store) -> None:
        self._jobs, self._service, self._store = jobs, service, store
        self._seen: dict[str, tuple[Any, ...]] = {}

    def page(self, before: str | None, limit: int) -> JobsPage:
        """Return up to ``limit`` jobs that were accepted before the one called ``before``."""
        rows = self._store.page_of_jobs(before, limit)
        return JobsPage(jobs=self._entries(rows), next=rows[-1].id if len(rows) == limit else None)

    def open(self) -> list[JobEntry]:
        """Return the jobs that have not ended."""
        return self._entries(self._store.open_jobs())

    def changes(self) -> list[JobEntry]:
        """Return the jobs that changed since the last call."""
        outlook, requests = self._outlook(), self._jobs.open_requests()
        seen = {job_id: _snapshot(queued, outlook.get(queued)) for job_id, queued in requests.items()}
        changed = [job_id for job_id, snapshot in seen.items() if self._seen.get(job_id) != snapshot]
        changed += _drained(self._jobs.ended)
        self._seen = seen
        if not changed:
            return []
        return self._entries(self._store.get_jobs(list(dict.fromkeys(changed))))

    def _outlook(self) -> Mapping[QueuedRequest, Outlook]:
        return self._service.queue.outlook() if self._service.queue else {}

    def _entries(self, rows: Sequence[JobRow]) -> list[JobEntry]:
        outlook, requests = self._outlook(), self._jobs.open_requests()
        images = self._store.images_of([row.id for row in rows if row.state == "done"])
        return [_entry(row, requests.get(row.id), outlook, images.get(row.id, ())) for row in rows]


def _snapshot(queued: QueuedRequest, outlook: Outlook | None) -> tuple[Any, ...]:
    position = min(outlook.position, _SHOWN_POSITIONS) if outlook else 0
    return queued.started_at is not None, position, round(queued.progress, 3)


def _entry(
    row: JobRow, queued: QueuedRequest | None, outlooks: Mapping[QueuedRequest, Outlook], images: Sequence[ImageRow]
) -> JobEntry:
    state: State = row.state  # type: ignore[assignment]
    if state not in OPEN_STATES:
        queued = None
    if queued is not None and queued.started_at is not None:
        state = "running"
    outlook = outlooks.get(queued) if queued is not None else None
    has_preview = queued is not None and queued.preview is not None
    return JobEntry(
        id=row.id,
        state=state,
        created=created_at(row),
        position=outlook.position if outlook else None,
        progress=1.0 if state == "done" else queued.progress if queued else 0.0,
        eta_s=round(outlook.seconds_left, 2) if outlook else None,
        # The address changes with the picture, so that a page shows each.
        preview=f"/jobs/{row.id}/preview?progress={queued.progress:.3f}" if queued and has_preview else None,
        images=[EntryImage(id=image.id, seed=image.seed, path=f"/images/{image.id}") for image in images],
        request=_given(row.request),
        warnings=row.warnings or [],
        error=row.error,
    )


def created_at(row: JobRow) -> float:
    """Return when a job was accepted, in seconds since 1970."""
    return row.created.replace(tzinfo=UTC).timestamp()


def _given(request: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request that were given, its seed as text."""
    given = {name: value for name, value in request.items() if value is not None}
    return {**given, **({"seed": str(request["seed"])} if request.get("seed") is not None else {})}


def _drained(ended: "deque[str]") -> Iterator[str]:
    while ended:
        yield ended.popleft()
