"""Images while the client waits."""

import asyncio

from fastapi import APIRouter, Request

from zthumb.server.errors import generating
from zthumb.server.routes.asking import Asked, AskedJobs, Root
from zthumb.server.schemas import GenerateAnswer, GenerateRequest

router = APIRouter(tags=["images"])


@router.post("/generate", responses=generating())
async def generate(asked: GenerateRequest, request: Request, service: Asked, jobs: AskedJobs, root: Root) -> GenerateAnswer:
    """Make images of a prompt, with adapters or without. A client that goes away stops it at the next step."""
    if asked.response_format == "b64_json":
        return await service.generate(asked, request.is_disconnected)
    order, result = await service.run(asked, request.is_disconnected)
    return await asyncio.to_thread(jobs.keep, asked, order, result, root)
