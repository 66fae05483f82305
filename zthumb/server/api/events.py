"""One stream of all that changes, for pages: jobs as they go on, and images of the gallery."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from zthumb.server.api.dependencies import EventsDep, JobListingDep
from zthumb.server.queue.event_log import Event, EventLog
from zthumb.server.queue.job_listing import JobListing
from zthumb.server.runs.training import Training

router = APIRouter(tags=["jobs"])

_LOG = logging.getLogger("zthumb")
_HEARTBEAT_S, _INTERVAL_S, _RUNS_INTERVAL_S = 15.0, 0.1, 0.5
_RETRY_MS = 1000


@router.get("/events", responses={200: {"content": {"text/event-stream": {}}}})
async def follow(
    log: EventsDep,
    listing: JobListingDep,
    last_event_id: Annotated[str | None, Header(max_length=40, examples=["1f0c2b9e-42"])] = None,
    after: Annotated[str | None, Query(max_length=40, description="the same as Last-Event-ID", examples=["1f0c2b9e-42"])] = None,
) -> StreamingResponse:
    """Stream what changes, as server-sent events with ids, from the one that the client had last.

    ``job`` has a job that changed, ``run`` a training or an evaluation. ``snapshot``, which comes first, and again after the
    client was away too long or the server was started again, has the ids of all jobs that are open; lists that were read before
    it are to be read again.
    """
    known = last_event_id or after
    return StreamingResponse(_lines(log, listing, known), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def watch(log: EventLog, listing: JobListing) -> None:
    """Write what changes to ``log``, for ever."""
    while True:
        try:
            changed = await asyncio.to_thread(listing.changes)
        except Exception:
            # Pages would wait for ever without a word; what changed meanwhile they read again.
            _LOG.exception("the jobs that changed could not be read")
            log.forget()
            changed = []
        for entry in changed:
            log.append("job", entry.model_dump_json())
        await asyncio.sleep(_INTERVAL_S)


async def watch_runs(log: EventLog, training: Training, free_memory: Callable[[], None]) -> None:
    """Start the runs that wait, one after the other, and write what changes of all to ``log``, for ever.

    A run may need all the memory there is: what this server has loaded is unloaded before it starts.
    """
    while True:
        try:
            await asyncio.to_thread(training.runs.advance, free_memory)
            for entry in await asyncio.to_thread(training.listing.changes):
                log.append("run", entry.model_dump_json())
        except Exception:
            _LOG.exception("the runs could not be looked at")
        await asyncio.sleep(_RUNS_INTERVAL_S)


async def _lines(log: EventLog, listing: JobListing, known: str | None) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MS}\n\n"
    start = known
    if start is None or not log.knows(start):
        start = log.last_id
        jobs = await asyncio.to_thread(listing.open)
        yield _line(Event(start, "snapshot", f'{{"jobs":[{",".join(job.model_dump_json() for job in jobs)}]}}'))
    async for event in log.follow(start, _HEARTBEAT_S):
        yield ": \n\n" if event is None else _line(event)


def _line(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.data}\n\n"
