"""Which error is which status, and how the API's description tells of them."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from foundation.errors import BadInput, SourceFailed, StageFailed
from zthumb.server.backend_pool import OutOfMemory
from zthumb.server.download_guard import BeingFetched
from zthumb.server.examples import shown
from zthumb.server.generation_queue import Cancelled, QueueFull, ShuttingDown
from zthumb.server.jobs import NotFound
from zthumb.server.service import GenerationTimeout, NotReady

STATUS: dict[type[Exception], int] = {
    BadInput: 422,
    NotFound: 404,
    QueueFull: 429,
    Cancelled: 499,
    StageFailed: 500,
    SourceFailed: 502,
    NotReady: 503,
    BeingFetched: 503,
    ShuttingDown: 503,
    GenerationTimeout: 504,
    OutOfMemory: 507,
}


class ErrorResponse(BaseModel):
    """What went wrong, and what to do about it."""

    model_config = ConfigDict(json_schema_extra=shown({"detail": "loras.id: no adapter is called 'gone'; GET /models lists …"}))

    detail: str


class OpenAIError(BaseModel):
    """The same for OpenAI's clients."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIErrorResponse(BaseModel):
    """An error as OpenAI's clients read it."""

    model_config = ConfigDict(
        json_schema_extra=shown(
            {
                "error": {
                    "message": "size: '1x1': each edge must be 64 to 2048 pixels.",
                    "type": "invalid_request_error",
                }
            }
        )
    )

    error: OpenAIError


_EVERYWHERE = {
    400: "the body is no JSON",
    401: "an API key is needed",
    403: "a page of another origin asked",
    413: "the body is too large",
    421: "this server is not called by that name",
    422: "what cannot be done, and why",
    429: "too much is asked for; Retry-After says when to come again",
    500: "a fault of the server, which its log has",
    503: "the base is not loaded yet, a model is being fetched, or the server ends",
}
_GENERATING = {
    499: "the client is gone",
    502: "what was to be fetched first could not be",
    504: "given up after the time that is allowed",
    507: "there is not enough memory",
}

Responses = dict[int | str, dict[str, Any]]


def everywhere() -> Responses:
    """What any route may answer."""
    return {status: {"model": ErrorResponse, "description": told} for status, told in _EVERYWHERE.items()}


def generating(model: type[BaseModel] = ErrorResponse) -> Responses:
    """What routes that generate may answer besides."""
    return {status: {"model": model, "description": told} for status, told in _GENERATING.items()}


def missing() -> Responses:
    """What routes with an id may answer besides."""
    return {404: {"model": ErrorResponse, "description": "there is none of that id"}}


def for_openai() -> Responses:
    """What the routes of OpenAI's clients answer."""
    told = {**_EVERYWHERE, **_GENERATING}
    return {status: {"model": OpenAIErrorResponse, "description": text} for status, text in told.items()}
