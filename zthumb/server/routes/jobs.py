"""Images for later: jobs that are queued, looked at, followed and stopped."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse

from zthumb.server.errors import missing
from zthumb.server.examples import JOB
from zthumb.server.routes.dependencies import JobsDep, Root
from zthumb.server.schemas import GenerateRequest, JobResponse

router = APIRouter(tags=["jobs"])

_MISSING = missing()
JobId = Annotated[str, Path(max_length=100, examples=[JOB])]


@router.post("/jobs", status_code=202)
def add(asked: GenerateRequest, jobs: JobsDep, root: Root) -> JobResponse:
    """Accept a job. It survives a restart of the server."""
    return jobs.add(asked, root)


@router.get("/jobs/{job}", responses=_MISSING)
def look(job: JobId, jobs: JobsDep, root: Root) -> JobResponse:
    """How a job is, and when it is done its images."""
    return jobs.look(job, root)


@router.get("/jobs/{job}/events", responses={**_MISSING, 200: {"content": {"text/event-stream": {}}}})
async def follow(job: JobId, jobs: JobsDep, root: Root) -> StreamingResponse:
    """Server-sent events, one whenever the job changes, until it has ended."""
    await asyncio.to_thread(jobs.look, job)

    async def lines() -> AsyncIterator[str]:
        async for now in jobs.events(job, root):
            yield f"event: {now.state}\ndata: {now.model_dump_json()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.delete("/jobs/{job}", responses=_MISSING)
def cancel(job: JobId, jobs: JobsDep, root: Root) -> JobResponse:
    """Stop a job at its next step. Asked for again, it changes nothing."""
    return jobs.cancel(job, root)
