"""The routes of a page's session."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from zthumb.server.api import schema_examples
from zthumb.server.api.dependencies import ServiceDep
from zthumb.server.sessions import COOKIE, LIFETIME_S, issue

router = APIRouter(prefix="/session", tags=["system"])


class SessionRequest(BaseModel):
    """The API key that opens a session."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=schema_examples.of_schema({"key": "one of the server's keys"}))

    key: Annotated[str, Field(max_length=1000)]


class SessionResponse(BaseModel):
    """Whether this server asks for API keys, and so for sessions."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema({"needs_key": False}))

    needs_key: bool


@router.get("")
def session(service: ServiceDep) -> SessionResponse:
    """Say whether a key is needed; with a session that is open or without keys this answers 200, else 401."""
    return SessionResponse(needs_key=bool(service.settings.keys))


@router.post("", status_code=204, responses={401: {"description": "no such key"}})
def open_session(body: SessionRequest, request: Request, response: Response, service: ServiceDep) -> None:
    """Open a session with an API key: the cookie in the answer takes its place in the browser."""
    key = body.key.strip().encode()
    if not any(hmac.compare_digest(key, known.encode()) for known in service.settings.keys):
        raise HTTPException(401, "this is none of the server's keys")
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, issue(key), max_age=LIFETIME_S, httponly=True, samesite="strict", secure=is_secure)


@router.delete("", status_code=204)
def close_session(response: Response) -> None:
    """Forget the session in this browser."""
    response.delete_cookie(COOKIE)
