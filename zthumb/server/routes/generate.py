"""Pictures while the client waits."""

from fastapi import APIRouter, Request

from zthumb.server.routes.asking import Asked
from zthumb.server.schemas import GenerateAnswer, GenerateRequest

router = APIRouter(tags=["pictures"])


@router.post("/generate")
async def generate(asked: GenerateRequest, request: Request, service: Asked) -> GenerateAnswer:
    """Make pictures of a prompt, with adapters or without. A client that goes away stops it at the next step."""
    return await service.generate(asked, request.is_disconnected)
