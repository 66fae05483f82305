"""The route that generates images while the client waits."""

import asyncio

from fastapi import APIRouter, Request

from zthumb.server.api.dependencies import JobsDep, RootPath, ServiceDep
from zthumb.server.api.error_responses import generation_responses
from zthumb.server.api.schemas import GenerateRequest, GenerateResponse

router = APIRouter(tags=["images"])


@router.post("/generate", responses=generation_responses())
async def generate(
    body: GenerateRequest, request: Request, service: ServiceDep, jobs: JobsDep, root_path: RootPath
) -> GenerateResponse:
    """Generate images of a prompt, with or without adapters. If the client disconnects, generation stops at the next step."""
    if body.response_format == "b64_json":
        return await service.generate(body, request.is_disconnected)
    resolved, result = await service.run(body, request.is_disconnected)
    return await asyncio.to_thread(jobs.save_result, body, resolved, result, root_path)
