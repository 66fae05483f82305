"""The HTTP status of each exception, and the error responses in the OpenAPI description."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from foundation.errors import BadInput, SourceFailed, StageFailed
from zthumb.server.api import schema_examples
from zthumb.server.queue.backend_pool import OutOfMemory
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.queue.download_guard import DownloadInProgress
from zthumb.server.queue.generation_queue import Cancelled, QueueFull, ShuttingDown
from zthumb.server.runs.runs import Conflict
from zthumb.server.service import GenerationTimeout, NotReady

STATUS: dict[type[Exception], int] = {
    BadInput: 422,
    NotFound: 404,
    Conflict: 409,
    QueueFull: 429,
    Cancelled: 499,
    StageFailed: 500,
    SourceFailed: 502,
    NotReady: 503,
    DownloadInProgress: 503,
    ShuttingDown: 503,
    GenerationTimeout: 504,
    OutOfMemory: 507,
}


class ErrorResponse(BaseModel):
    """What went wrong, and what to do about it."""

    model_config = ConfigDict(
        json_schema_extra=schema_examples.of_schema({"detail": "loras.id: no adapter is called 'gone'; GET /models lists …"})
    )

    detail: str


class OpenAIError(BaseModel):
    """The error object that OpenAI's clients read."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIErrorResponse(BaseModel):
    """An error in the form that OpenAI's clients read."""

    model_config = ConfigDict(
        json_schema_extra=schema_examples.of_schema(
            {
                "error": {
                    "message": "size: '1x1': each edge must be 64 to 2048 pixels.",
                    "type": "invalid_request_error",
                }
            }
        )
    )

    error: OpenAIError


_COMMON = {
    400: "the body is not JSON",
    401: "an API key is needed",
    403: "the request comes from a page of a forbidden origin",
    413: "the body is too large",
    421: "the Host header is not a name of this server",
    422: "the request cannot be fulfilled; the message says why",
    429: "too many requests; Retry-After says when to try again",
    500: "internal server error; see the server's log",
    503: "the base model is not loaded yet, a model is being downloaded, or the server is shutting down",
}
_GENERATION = {
    499: "the client disconnected",
    502: "a download that the request needs has failed",
    504: "the request took longer than the time limit",
    507: "there is not enough memory",
}

Responses = dict[int | str, dict[str, Any]]


def common_responses() -> Responses:
    """Return the errors that any route may answer with."""
    return {status: {"model": ErrorResponse, "description": text} for status, text in _COMMON.items()}


def generation_responses(model: type[BaseModel] = ErrorResponse) -> Responses:
    """Return the additional errors of routes that generate images."""
    return {status: {"model": model, "description": text} for status, text in _GENERATION.items()}


def not_found_response() -> Responses:
    """Return the additional error of routes with an id."""
    return {404: {"model": ErrorResponse, "description": "there is nothing with that id"}}


def openai_responses() -> Responses:
    """Return the errors of the routes for OpenAI's clients."""
    descriptions = {**_COMMON, **_GENERATION}
    return {status: {"model": OpenAIErrorResponse, "description": text} for status, text in descriptions.items()}
