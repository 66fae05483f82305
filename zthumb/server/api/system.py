"""The routes that describe the server: models, capabilities, presets, metrics and health."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from foundation.manifest import package_versions
from zthumb.server.api.dependencies import ServiceDep
from zthumb.server.api.schemas import (
    CapabilitiesResponse,
    FindingEntry,
    FindingsResponse,
    LiveResponse,
    ModelsResponse,
    PresetsResponse,
    ReadyResponse,
)
from zthumb.server.findings import findings

router = APIRouter(tags=["system"])


@router.get("/models")
def models(service: ServiceDep) -> ModelsResponse:
    """Return the base model and the adapters of this server."""
    return service.models()


@router.get("/capabilities")
def capabilities(service: ServiceDep) -> CapabilitiesResponse:
    """Return the variants and options of this server, and the limits of a request."""
    return service.capabilities()


@router.get("/presets")
def presets(service: ServiceDep) -> PresetsResponse:
    """Return the presets that a request's ``preset`` may name."""
    return service.list_presets()


@router.get("/findings")
def list_findings(service: ServiceDep) -> FindingsResponse:
    """Say what may keep this server from working, as ``zthumb doctor`` does, and how its memory is used."""
    found = [
        FindingEntry(level=finding.level, what=service.without_local_paths(finding.what), remedy=finding.remedy)
        for finding in findings(service.settings)
    ]
    return FindingsResponse(findings=found, plan=service.plan(), packages=package_versions())


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: ServiceDep) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/health/live")
def live() -> LiveResponse:
    """Answer as long as the process runs."""
    return LiveResponse(status="ok")


@router.get("/health/ready", responses={503: {"model": ReadyResponse}})
def ready(service: ServiceDep, response: Response) -> ReadyResponse:
    """Answer 200 once the base is loaded and has generated an image, and 503 before that or if it failed."""
    status = service.ready()
    response.status_code = 200 if status.ready else 503
    return status
