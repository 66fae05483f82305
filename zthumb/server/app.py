"""The FastAPI application: routes around a service. All state is kept in the app object."""

import asyncio
import errno
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException

from zthumb.server.api import (
    a1111,
    client,
    datasets,
    docs,
    error_responses,
    events,
    generate,
    images,
    jobs,
    library,
    openai,
    prompts,
    recipes,
    runs,
    session,
    system,
)
from zthumb.server.api.error_content import error_content
from zthumb.server.engine import make_resolver
from zthumb.server.queue.background_jobs import Jobs
from zthumb.server.queue.event_log import EventLog
from zthumb.server.queue.generation_queue import QueueFull
from zthumb.server.queue.job_listing import JobListing
from zthumb.server.runs.training import Training, open_training
from zthumb.server.security import BehindProxy, SecurityMiddleware
from zthumb.server.service import Service
from zthumb.server.settings import Settings
from zthumb.server.storage.store import Store
from zthumb.sources.resolve import Resolver

_LOG = logging.getLogger("zthumb")
_ROUTES = (
    generate,
    prompts,
    jobs,
    events,
    images,
    library,
    datasets,
    recipes,
    runs,
    openai,
    a1111,
    system,
    session,
    docs,
    client,
)
"""The modules of the routes, in the order of the API's description."""
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


def create_app(settings: Settings, resolver: Resolver | None = None) -> FastAPI:
    """Create an app that loads its base model at startup.

    ``resolver`` finds and downloads models. Raises ``BadInput`` if there is no base model, or if another server uses the data
    folder.
    """
    training = open_training(settings.training, settings.data_folder) if settings.training else None
    service, store = Service(settings, resolver or make_resolver(settings)), Store(settings.data_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.jobs = Jobs(service, store)
        app.state.events, app.state.job_listing = EventLog(), JobListing(app.state.jobs, service, store)
        loop = asyncio.get_running_loop()
        app.state.end_streams = lambda: loop.call_soon_threadsafe(app.state.events.close)
        watching = [asyncio.create_task(events.watch(app.state.events, app.state.job_listing))]
        if training:
            watching.append(asyncio.create_task(events.watch_runs(app.state.events, training, service.free_memory)))
        starting = asyncio.create_task(_start(service, app.state.jobs, training))
        yield
        await starting
        app.state.jobs.drain()
        for task in watching:
            task.cancel()
        app.state.events.close()
        await service.stop(settings.timeout_s)
        await asyncio.to_thread(app.state.jobs.close)
        store.close()

    app = FastAPI(
        title="zthumb",
        summary="Generates images with LoRA adapters chosen for each request",
        lifespan=lifespan,
        # FastAPI's own pages load their files from another host.
        docs_url=None,
        redoc_url=None,
        responses=error_responses.common_responses(),
    )
    app.state.service, app.state.store, app.state.training = service, store, training
    app.state.end_streams = lambda: None
    _add_middleware(app, settings)
    for module in _ROUTES:
        app.include_router(module.router)
    _add_error_handlers(app, service)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add what every request passes, the innermost first."""
    app.add_middleware(SecurityMiddleware, settings=settings)
    if settings.allowed_origins:
        # Outside the security middleware: a preflight request carries no key, and a page must be able to read why it was refused.
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["*"], allow_headers=["*"], max_age=600
        )
    app.add_middleware(BehindProxy, settings=settings)


def _add_error_handlers(app: FastAPI, service: Service) -> None:
    for error_type, status in error_responses.STATUS.items():
        app.add_exception_handler(error_type, _error_handler(status, service))
    app.add_exception_handler(QueueFull, _queue_full)
    app.add_exception_handler(OSError, _disk_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)


async def _start(service: Service, unfinished_jobs: Jobs, training: Training | None) -> None:
    await service.start()
    at_work = await asyncio.to_thread(training.runs.at_work) if training else None
    if at_work is not None:
        # It was started by this server before it was started again, and may need all the memory there is.
        service.free_memory()
    if service.ready().ready:
        await asyncio.to_thread(unfinished_jobs.resume)


def _error_handler(status: int, service: Service) -> Callable[[Request, Exception], JSONResponse]:
    def handle(request: Request, error: Exception) -> JSONResponse:
        return _error_response(request, service.without_local_paths(str(error)) or type(error).__name__, status)

    return handle


def _queue_full(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, QueueFull)
    return _error_response(request, str(error), 429, {"Retry-After": str(math.ceil(error.retry_after))})


def _disk_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the disk refuses with its reason; anything else that the system refuses is a fault of this program."""
    assert isinstance(error, OSError)
    if error.errno not in _OF_THE_DISK:
        raise error
    return _error_response(request, f"a file cannot be written on the server ({error.strerror})", 507)


def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that does not match the schema with each field that is wrong and the reason."""
    assert isinstance(error, RequestValidationError)
    faults = [(".".join(str(part) for part in fault["loc"][1:]), fault["msg"]) for fault in error.errors()]
    return _error_response(request, "; ".join(f"{field}: {reason}" if field else reason for field, reason in faults), 422)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of the framework itself: no such route, no such method, not JSON."""
    assert isinstance(error, HTTPException)
    return _error_response(request, str(error.detail), error.status_code, dict(error.headers or {}))


def _error_response(request: Request, message: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error in the form that the route's clients read, and count it in the metrics."""
    request.app.state.service.metrics.refused(status)
    content = error_content(get_route_path(request.scope), status, message)
    return JSONResponse(content, status_code=status, headers=headers)
