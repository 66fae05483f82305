"""The routes of jobs: submit, poll, follow and cancel."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response, StreamingResponse

from zthumb.server.api.dependencies import JobListingDep, JobsDep, RootPath
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.gallery_schemas import JobsPage
from zthumb.server.api.schema_examples import JOB_ID
from zthumb.server.api.schemas import GenerateRequest, JobResponse

router = APIRouter(tags=["jobs"])

_NOT_FOUND = not_found_response()
JobId = Annotated[str, Path(max_length=100, examples=[JOB_ID])]


@router.post("/jobs", status_code=202)
def create_job(body: GenerateRequest, jobs: JobsDep, root_path: RootPath) -> JobResponse:
    """Accept a job. It survives a restart of the server."""
    return jobs.add(body, root_path)


@router.get("/jobs")
def list_jobs(
    listing: JobListingDep,
    before: Annotated[str | None, Query(max_length=100, description="`next` of the page before", examples=[JOB_ID])] = None,
    limit: Annotated[int, Query(ge=1, le=200, examples=[50])] = 50,
) -> JobsPage:
    """Return a page of jobs, the newest first."""
    return listing.page(before, limit)


@router.get("/jobs/{job}", responses=_NOT_FOUND)
def get_job(job: JobId, jobs: JobsDep, root_path: RootPath) -> JobResponse:
    """Return the status of a job, and its images when it is done."""
    return jobs.get(job, root_path)


@router.get("/jobs/{job}/events", responses={**_NOT_FOUND, 200: {"content": {"text/event-stream": {}}}})
async def follow_job(job: JobId, jobs: JobsDep, root_path: RootPath) -> StreamingResponse:
    """Stream server-sent events, one whenever the job changes, until it has ended."""
    await asyncio.to_thread(jobs.get, job)

    async def lines() -> AsyncIterator[str]:
        async for status in jobs.events(job, root_path):
            yield f"event: {status.state}\ndata: {status.model_dump_json()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


_PREVIEW = {**_NOT_FOUND, 200: {"content": {"image/png": {}}}, 204: {"description": "there is none yet, or any more"}}


@router.get("/jobs/{job}/preview", responses=_PREVIEW, response_class=Response)
def get_preview(job: JobId, jobs: JobsDep) -> Response:
    """Return a small preview of a running job's first image, as a PNG."""
    preview = jobs.preview(job)
    if preview is None:
        jobs.get(job)
        return Response(status_code=204)
    return Response(preview, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.delete("/jobs/{job}", responses=_NOT_FOUND)
def cancel_job(job: JobId, jobs: JobsDep, root_path: RootPath) -> JobResponse:
    """Cancel a job at its next step. Cancelling it again changes nothing."""
    return jobs.cancel(job, root_path)
