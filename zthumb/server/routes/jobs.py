"""Pictures for later: jobs that are queued, looked at, followed and stopped, and the pictures that came of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Body, Path
from fastapi.responses import FileResponse, StreamingResponse

from zthumb.server.errors import missing
from zthumb.server.examples import IMAGE, JOB
from zthumb.server.files import parameters_of
from zthumb.server.jobs import NotKnown
from zthumb.server.routes.asking import AskedJobs
from zthumb.server.schemas import GenerateRequest, InspectAnswer, JobAnswer

router = APIRouter(tags=["jobs"])

_MISSING = missing()
JobId = Annotated[str, Path(max_length=100, examples=[JOB])]
ImageId = Annotated[str, Path(max_length=100, examples=[IMAGE])]


@router.post("/jobs", status_code=202)
def add(asked: GenerateRequest, jobs: AskedJobs) -> JobAnswer:
    """Accept a job. It survives a restart of the server."""
    return jobs.add(asked)


@router.get("/jobs/{job}", responses=_MISSING)
def look(job: JobId, jobs: AskedJobs) -> JobAnswer:
    """How a job is, and when it is done its pictures."""
    return jobs.look(job)


@router.get("/jobs/{job}/events", responses={**_MISSING, 200: {"content": {"text/event-stream": {}}}})
async def follow(job: JobId, jobs: AskedJobs) -> StreamingResponse:
    """Server-sent events, one whenever the job changes, until it has ended."""
    await asyncio.to_thread(jobs.look, job)

    async def lines() -> AsyncIterator[str]:
        async for now in jobs.events(job):
            yield f"event: {now.state}\ndata: {now.model_dump_json()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.delete("/jobs/{job}", responses=_MISSING)
def cancel(job: JobId, jobs: AskedJobs) -> JobAnswer:
    """Stop a job at its next step. Asked for again, it changes nothing."""
    return jobs.cancel(job)


@router.get("/images/{image}", responses={**_MISSING, 200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}})
def image(image: ImageId, jobs: AskedJobs) -> FileResponse:
    """A picture that is kept."""
    path = jobs.gallery.path(image)
    if path is None:
        raise NotKnown(f"no picture {image!r} is known here.")
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})


@router.post("/images/inspect")
def inspect(data: bytes = Body(media_type="image/png", description="a PNG that this server made")) -> InspectAnswer:
    """What a picture was made from."""
    return InspectAnswer(parameters=parameters_of(data))
