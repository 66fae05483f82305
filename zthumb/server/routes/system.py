"""What this server is, what it can do, and how it is."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from zthumb.server.routes.dependencies import ServiceDep
from zthumb.server.schemas import CapabilitiesResponse, LiveResponse, ModelsResponse, PresetsResponse, ReadyResponse

router = APIRouter(tags=["system"])


@router.get("/models")
def models(service: ServiceDep) -> ModelsResponse:
    """What this server serves."""
    return service.models()


@router.get("/capabilities")
def capabilities(service: ServiceDep) -> CapabilitiesResponse:
    """What can be asked for, and within which limits."""
    return service.capabilities()


@router.get("/presets")
def presets(service: ServiceDep) -> PresetsResponse:
    """Ways to generate that have a name, for a request's ``preset``."""
    return service.known_presets()


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: ServiceDep) -> Response:
    """What Prometheus reads."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/health/live")
def live() -> LiveResponse:
    """Answers as long as the process does."""
    return LiveResponse(status="ok")


@router.get("/health/ready", responses={503: {"model": ReadyResponse}})
def ready(service: ServiceDep, response: Response) -> ReadyResponse:
    """200 once the base is loaded and has made an image, 503 before that or when it never will."""
    found = service.ready()
    response.status_code = 200 if found.ready else 503
    return found
