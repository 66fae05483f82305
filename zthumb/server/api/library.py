"""The routes of what is on this machine: adapters with their verdicts, and the evaluation's reports."""

import contextlib
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from foundation.hashing import hash_file
from foundation.verdict import Verdict
from zthumb.adapters.fitting_base import recognize
from zthumb.adapters.inspection import summarize
from zthumb.server.adapter_registry import AdapterRegistry
from zthumb.server.adapter_upload import receive
from zthumb.server.api import schema_examples
from zthumb.server.api.dependencies import JobsDep, ServiceDep
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.gallery_schemas import Edge
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.queue.download_guard import run_in_thread
from zthumb.server.small_image import small_version

router = APIRouter(tags=["library"])

AdapterId = Annotated[str, Query(max_length=1000, description="as GET /adapters lists it", examples=["demo"])]

_FILE = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}},
}
_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; frame-ancestors 'self'"
)
"""A report is one file with its scripts inside: it may run them, alone and without this server's cookies."""


class AdapterEntry(BaseModel):
    """An adapter in the models folder. ``report`` is the run whose report its verdict is from."""

    id: str
    path: str
    bytes: int
    version: str = Field(description="changes when its file does")
    trigger: str | None = Field(default=None, description="its trigger word, if its file says one")
    preview: str | None = Field(default=None, description="the path of an image that shows what it does")
    verdict: Verdict | None = None
    sentence: str | None = Field(default=None, description="the verdict in one line")
    report: str | None = None


class AdaptersResponse(BaseModel):
    """A page of the adapters in the models folder, by id; ``next`` is where the next one begins, null at the end."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.ADAPTERS))

    adapters: list[AdapterEntry]
    next: str | None = None


class AdapterDetails(BaseModel):
    """What an adapter's file contains, and its card. ``norms`` is how much it changes each component, ``metadata`` what it says.

    ``problem`` is why the file cannot be read, if it cannot; then nothing else is known of it.
    """

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.ADAPTER_DETAILS))

    sha256: str
    layout: str = ""
    kind: str = ""
    fits: str = Field(default="", description="the base whose layers it has")
    ranks: dict[str, int] = Field(default={}, description="modules by rank")
    modules: dict[str, int] = Field(default={}, description="modules by component")
    norms: dict[str, float] = {}
    metadata: dict[str, str] = {}
    notes: list[str] = []
    card: str | None = Field(default=None, description="the README.md beside it")
    problem: str | None = None


class AddedAdapter(BaseModel):
    """The id of an adapter that was added."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema({"id": "my-style"}))

    id: str


class ReportEntry(BaseModel):
    """A report on this machine, and its verdict in one line, if it has come to one."""

    run: str
    sentence: str | None = None
    outcome: str | None = None
    adapter: str | None = None
    written: float = Field(description="seconds since 1970")


class ReportsResponse(BaseModel):
    """The reports, the newest first."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.REPORTS))

    reports: list[ReportEntry]


@router.get("/adapters")
def list_adapters(
    service: ServiceDep,
    jobs: JobsDep,
    after: Annotated[str | None, Query(max_length=1000, description="`next` of the page before", examples=["demo"])] = None,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[200])] = 200,
) -> AdaptersResponse:
    """Return a page of the adapters in the models folder, with their trigger words and verdicts."""
    runs = {report.verdict.adapter_sha256: report.run for report in reversed(service.reports.all()) if report.verdict}
    following = sorted(item for item in service.registry.paths_by_id().items() if after is None or item[0] > after)
    # Of a file that was another one before, the newest image.
    images = {used.path: used.image for used in jobs.gallery.index.adapters()}
    entries = []
    for name, path in following[:limit]:
        with contextlib.suppress(OSError):  # one that was removed meanwhile
            entries.append(_entry(service.registry, name, path, runs, images))
    return AdaptersResponse(adapters=entries, next=following[limit - 1][0] if len(following) > limit else None)


def _entry(
    registry: AdapterRegistry, name: str, path: FilePath, runs: Mapping[str | None, str], images: Mapping[str, str]
) -> AdapterEntry:
    verdict, public, preview = registry.verdict(path), registry.public_path(path), registry.preview(path)
    shown: str | None
    if preview is not None:
        shown = f"/adapters/preview?id={quote(name)}&version={preview.stat().st_mtime_ns:x}"
    else:
        shown = f"/images/{images[public]}/thumbnail" if public in images else None
    return AdapterEntry(
        id=name,
        path=public,
        bytes=path.stat().st_size,
        version=registry.version(path),
        trigger=registry.trigger(path),
        preview=shown,
        verdict=verdict,
        sentence=verdict.sentence if verdict else None,
        report=runs.get(verdict.adapter_sha256) if verdict else None,
    )


_PICTURE = {**not_found_response(), 200: {"content": {"image/webp": {}}}}


@router.get("/adapters/preview", responses=_PICTURE, response_class=Response)
def adapter_preview(id: AdapterId, service: ServiceDep, edge: Edge = 384) -> Response:  # noqa: A002
    """Return an adapter's image, small: ``NAME.preview.png`` or ``NAME.png`` beside its file, else the first of its card."""
    path = service.registry.paths_by_id().get(id)
    preview = service.registry.preview(path) if path else None
    if preview is None:
        raise NotFound(f"there is no adapter {id!r} with an image beside it.")
    headers = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(small_version(preview, edge), media_type="image/webp", headers=headers)


@router.get("/adapters/details", responses=not_found_response())
def adapter_details(
    id: AdapterId,  # noqa: A002
    service: ServiceDep,
) -> AdapterDetails:
    """Return what is in an adapter's file, as ``zthumb adapters inspect``, and its card."""
    path = service.registry.paths_by_id().get(id)
    if path is None:
        raise NotFound(f"there is no adapter {id!r}.")
    readme = path.parent / "README.md"
    # The card of a folder of several adapters would be that of none.
    card = readme.read_text(encoding="utf-8", errors="replace") if path.stem == path.parent.name and readme.is_file() else None
    try:
        summary = summarize(path, recognize(path))
    except BadInput as error:
        return AdapterDetails(sha256=hash_file(path), card=card, problem=service.without_local_paths(str(error)))
    return AdapterDetails(
        sha256=summary.sha256,
        layout=summary.layout,
        kind=summary.kind,
        fits=summary.fits,
        ranks=summary.ranks,
        modules=summary.modules,
        norms=summary.norms,
        metadata=summary.metadata,
        notes=list(summary.notes),
        card=card,
    )


@router.put("/adapters/{file}", status_code=201, openapi_extra={"requestBody": _FILE})
async def add_adapter(
    file: Annotated[str, Path(max_length=200, examples=["my-style.safetensors"])], request: Request, service: ServiceDep
) -> AddedAdapter:
    """Add an adapter to the models folder: the body is its file. It is refused unless it is one for a family that is known."""
    if not service.settings.may_fetch:
        raise BadInput("adapters: this server takes none from requests (ZTHUMB_DOWNLOAD_ON_REQUEST).")
    path = await receive(request.stream(), service.settings.models_folder, file)
    found = await run_in_thread(service.registry.paths_by_id)
    ids = {known: name for name, known in found.items()}
    return AddedAdapter(id=ids.get(path.resolve(), path.stem))


@router.get("/reports")
def list_reports(service: ServiceDep) -> ReportsResponse:
    """Return the evaluation's reports on this machine."""
    return ReportsResponse(
        reports=[
            ReportEntry(
                run=report.run,
                sentence=report.verdict.sentence if report.verdict else None,
                outcome=report.verdict.outcome if report.verdict else None,
                adapter=report.verdict.adapter if report.verdict else None,
                written=report.written,
            )
            for report in service.reports.all()
        ]
    )


_PAGE = {**not_found_response(), 200: {"content": {"text/html": {}}}}


@router.get("/reports/{run}", responses=_PAGE)
def get_report(run: Annotated[str, Path(max_length=100, examples=["demo"])], service: ServiceDep) -> Response:
    """Return a report's page, to be shown inside another page of this server or by itself."""
    page = service.reports.page(run)
    if page is None:
        raise NotFound(f"there is no report {run!r}.")
    headers = {"Content-Security-Policy": _POLICY, "X-Frame-Options": "SAMEORIGIN", "Cache-Control": "no-store"}
    return HTMLResponse(page.read_text(encoding="utf-8"), headers=headers)
