"""Jobs as lists and events show them, and what of them changed since the last look."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from zthumb.server.api.gallery_schemas import EntryImage, JobEntry, JobsPage
from zthumb.server.queue.background_jobs import Jobs, NotFound
from zthumb.server.queue.generation_queue import QueuedRequest
from zthumb.server.service import Service
from zthumb.server.storage.rows import JobRow
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
        return JobsPage(jobs=[self._entry(row) for row in rows], next=rows[-1].id if len(rows) == limit else None)

    def open(self) -> list[JobEntry]:
        """Return the jobs that have not ended."""
        return [self._entry(row) for row in self._store.open_jobs()]

    def entry(self, job_id: str) -> JobEntry:
        """Return one job; ``NotFound`` if there is no such one."""
        row = self._store.get_job(job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id!r}.")
        return self._entry(row)

    def changes(self) -> Iterator[JobEntry]:
        """Yield the jobs that changed since the last call."""
        seen = self._seen
        self._seen = {job_id: self._snapshot(queued) for job_id, queued in self._jobs.open_requests().items()}
        changed = [job_id for job_id, snapshot in self._seen.items() if seen.get(job_id) != snapshot]
        for job_id in [*changed, *_drained(self._jobs.ended)]:
            yield self.entry(job_id)

    def _snapshot(self, queued: QueuedRequest) -> tuple[Any, ...]:
        queue = self._service.queue
        position = min(queue.position(queued), _SHOWN_POSITIONS) if queue else 0
        return queued.started_at is not None, position, round(queued.progress, 3)

    def _entry(self, row: JobRow) -> JobEntry:
        queue, queued = self._service.queue, self._jobs.open_requests().get(row.id)
        state: State = row.state  # type: ignore[assignment]
        if state not in OPEN_STATES:
            queued = None
        if queued is not None and queued.started_at is not None:
            state = "running"
        has_preview = queued is not None and queued.preview is not None
        return JobEntry(
            id=row.id,
            state=state,
            created=created_at(row),
            position=queue.position(queued) if queued and queue else None,
            progress=1.0 if state == "done" else queued.progress if queued else 0.0,
            eta_s=round(queue.seconds_left(queued), 2) if queued and queue else None,
            # The address changes with the picture, so that a page shows each.
            preview=f"/jobs/{row.id}/preview?progress={queued.progress:.3f}" if queued and has_preview else None,
            images=[
                EntryImage(id=image.id, seed=image.seed, path=f"/images/{image.id}") for image in self._store.get_images(row.id)
            ],
            request=_given(row.request),
            warnings=row.warnings or [],
            error=row.error,
        )


def created_at(row: JobRow) -> float:
    """Return when a job was accepted, in seconds since 1970."""
    from datetime import UTC

    return row.created.replace(tzinfo=UTC).timestamp()


def _given(request: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request that were given, its seed as text."""
    given = {name: value for name, value in request.items() if value is not None}
    return {**given, **({"seed": str(request["seed"])} if request.get("seed") is not None else {})}


def _drained(ended: "deque[str]") -> Iterator[str]:
    while ended:
        yield ended.popleft()
