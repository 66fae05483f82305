"""The application: routes around a service. It keeps no state outside the app object."""

import asyncio
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

from zthumb.server import errors
from zthumb.server.error_content import error_content
from zthumb.server.generation_queue import QueueFull
from zthumb.server.jobs import Jobs
from zthumb.server.routes import a1111, generate, images, jobs, openai, system
from zthumb.server.security import BehindProxy, SecurityMiddleware
from zthumb.server.service import Service
from zthumb.server.settings import Settings
from zthumb.server.store import Store
from zthumb.sources.download import ProgressCallback
from zthumb.sources.resolve import Resolver

_LOG = logging.getLogger("zthumb")


def create_app(settings: Settings, resolver: Resolver | None = None) -> FastAPI:
    """An app that loads its base when it is started; ``BadInput`` when there is none, or its data folder is another's.

    What models are named is found and fetched by ``resolver``.
    """
    service, store = Service(settings, resolver or resolver_of(settings)), Store(settings.data_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.jobs = Jobs(service, store)
        starting = asyncio.create_task(_start(service, app.state.jobs))
        yield
        await starting
        app.state.jobs.drain()
        await service.stop(settings.timeout_s)
        await asyncio.to_thread(app.state.jobs.close)
        store.close()

    app = FastAPI(
        title="zthumb",
        summary="SDXL images with adapters that never leak",
        lifespan=lifespan,
        responses=errors.everywhere(),
    )
    app.state.service, app.state.store = service, store
    app.add_middleware(SecurityMiddleware, settings=settings)
    if settings.allowed_origins:
        # Around the door: a page asks without a key whether it may ask with one, and must be told why it was turned away.
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["*"], allow_headers=["*"], max_age=600
        )
    app.add_middleware(BehindProxy, settings=settings)
    for module in (generate, jobs, images, openai, a1111, system):
        app.include_router(module.router)
    for kind, status in errors.STATUS.items():
        app.add_exception_handler(kind, _told(status, service))
    app.add_exception_handler(QueueFull, _full)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    return app


def resolver_of(settings: Settings, watch: Callable[[str], ProgressCallback] = lambda _: lambda _, __: None) -> Resolver:
    """What finds and fetches the models that a server is asked for; ``watch`` is told of the progress of each file."""
    fetched = settings.fetched_folder or settings.models_folder
    return Resolver(fetched, beside=() if fetched == settings.models_folder else (settings.models_folder,), watch=watch)


async def _start(service: Service, waiting: Jobs) -> None:
    await service.start()
    if service.ready().ready:
        await asyncio.to_thread(waiting.resume)


def _told(status: int, service: Service) -> Callable[[Request, Exception], JSONResponse]:
    def tell(request: Request, error: Exception) -> JSONResponse:
        return _answer(request, service.public(str(error)) or type(error).__name__, status)

    return tell


def _full(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, QueueFull)
    return _answer(request, str(error), 429, {"Retry-After": str(math.ceil(error.retry_after))})


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What of a request is not as the schema has it: where, and why."""
    assert isinstance(error, RequestValidationError)
    places = [(".".join(str(part) for part in each["loc"][1:]), each["msg"]) for each in error.errors()]
    return _answer(request, "; ".join(f"{place}: {why}" if place else why for place, why in places), 422)


def _refused(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses by itself: no such route, no such method, no JSON."""
    assert isinstance(error, HTTPException)
    return _answer(request, str(error.detail), error.status_code, dict(error.headers or {}))


def _answer(request: Request, told: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error, in the form that OpenAI's clients read where they asked."""
    request.app.state.service.metrics.refused(status)
    content = error_content(get_route_path(request.scope), status, told)
    return JSONResponse(content, status_code=status, headers=headers)
