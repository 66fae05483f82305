"""The application: routes around a service. It keeps no state outside the app object."""

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from foundation.errors import BadInput, StageFailed
from zthumb.server.dispatcher import Cancelled, Draining, QueueFull
from zthumb.server.routes import about, generate
from zthumb.server.service import NotReady, Service, TookTooLong
from zthumb.server.settings import Settings

_LOG = logging.getLogger("zthumb")
_STATUS: dict[type[Exception], int] = {
    BadInput: 422,
    Cancelled: 499,
    StageFailed: 500,
    NotReady: 503,
    Draining: 503,
    TookTooLong: 504,
}


def create_app(settings: Settings) -> FastAPI:
    """An app that loads its base when it is started; ``BadInput`` when there is none."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        import asyncio

        starting = asyncio.create_task(service.start())
        yield
        await starting
        await service.stop(settings.timeout_s)

    app = FastAPI(title="zthumb", summary="SDXL pictures with adapters that never leak", lifespan=lifespan)
    app.state.service = service
    for module in (generate, about):
        app.include_router(module.router)
    # Where on its disk a server has its models is nobody's business.
    hidden = f"{settings.models_folder.resolve()}/"
    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, _told(status, hidden))
    app.add_exception_handler(QueueFull, _full)
    app.add_exception_handler(Exception, _bug)
    return app


def _told(status: int, hidden: str) -> Callable[[Request, Exception], JSONResponse]:
    def tell(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error).replace(hidden, "") or type(error).__name__}, status_code=status)

    return tell


def _full(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, QueueFull)
    return JSONResponse({"detail": str(error)}, status_code=429, headers={"Retry-After": str(math.ceil(error.retry_after))})


def _bug(_: Request, error: Exception) -> JSONResponse:
    """Whatever was not foreseen is told in the log alone."""
    _LOG.error("a request failed", exc_info=error)
    return JSONResponse({"detail": "an error of the server; its log says which"}, status_code=500)
