"""Images while the client waits."""

import asyncio

from fastapi import APIRouter, Request

from zthumb.server.errors import generating
from zthumb.server.routes.dependencies import JobsDep, Root, ServiceDep
from zthumb.server.schemas import GenerateRequest, GenerateResponse

router = APIRouter(tags=["images"])


@router.post("/generate", responses=generating())
async def generate(asked: GenerateRequest, request: Request, service: ServiceDep, jobs: JobsDep, root: Root) -> GenerateResponse:
    """Make images of a prompt, with adapters or without. A client that goes away stops it at the next step."""
    if asked.response_format == "b64_json":
        return await service.generate(asked, request.is_disconnected)
    resolved, result = await service.run(asked, request.is_disconnected)
    return await asyncio.to_thread(jobs.keep, asked, resolved, result, root)
