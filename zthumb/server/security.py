"""The door of the server: who may ask, from where, how much and how often. It stands before every route."""

import base64
import contextlib
import hmac
import ipaddress
import logging
import math
import re
import time
import uuid
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from zthumb.server.error_content import error_content
from zthumb.server.settings import Settings

_LOG = logging.getLogger("zthumb")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OPEN_TO_ALL = ("/health/",)
_CHANGING = ("POST", "DELETE", "PUT", "PATCH")
_CLIENTS = 10_000
_PROXIES = ("127.0.0.1", "::1")
"""Those on this machine. What anyone else says of where a request came from is not believed."""

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class BehindProxy:
    """An ASGI application around another that believes a proxy on this machine: who asked, by which scheme, below which path."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        # uvicorn has types of its own for what starlette hands on.
        behind: Any = ProxyHeadersMiddleware(app, trusted_hosts=list(_PROXIES))  # type: ignore[arg-type]
        self._app: ASGIApp = behind
        self._root_path = settings.root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on as it was before the proxy."""
        if scope["type"] == "http":
            # Before the proxy's address gives way to that of who asked it.
            scope["root_path"] = _prefix(scope, Headers(scope=scope)) or self._root_path
        await self._app(scope, receive, send)


class _TooLarge(Exception):
    """A body that goes on beyond its limit."""


class SecurityMiddleware:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = [key.encode() for key in settings.keys]
        self._limit = settings.body_limit_mb * 2**20
        self._hosts = _own_names(settings)
        self._asked: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or turn it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = uuid.uuid4().hex
        named = _with_headers(send, request_id)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, named)
            return
        body = _Body(receive, named, self._limit)
        with contextlib.suppress(_TooLarge):
            try:
                await self._app(scope, body.receive, body.send)
            except _TooLarge:
                raise
            except Exception:
                await self._failed(scope, request_id, body, named)
        if body.is_too_large and not body.is_answered:
            await self._too_large(scope)(scope, receive, named)

    async def _failed(self, scope: Scope, request_id: str, body: "_Body", send: Send) -> None:
        """Whatever was not foreseen is told in the log alone, under the number that the answer has."""
        _LOG.exception("request %s failed", request_id)
        scope["app"].state.service.metrics.refused(500)
        if not body.is_answered:
            await _told(scope, 500, "an error of the server; its log says which")(scope, body.receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        """Why a request does not come in; None for one that does."""
        host = _host(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return _told(scope, 421, f"this server is not called {host!r}")
        if scope["method"] in _CHANGING and not self._is_at_home(headers):
            return _told(scope, 403, "pages of other origins may not ask this server (ZTHUMB_ORIGINS)")
        if int(headers.get("content-length") or 0) > self._limit:
            return self._too_large(scope)
        if get_route_path(scope).startswith(_OPEN_TO_ALL):
            return None
        who = _key(headers)
        if self._keys and not any(hmac.compare_digest(who, key) for key in self._keys):
            return _told(scope, 401, "an API key is needed: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        # A key that nobody has looked at says nothing of who asks.
        wait = self._wait(who.decode("latin-1") if self._keys else str((scope.get("client") or ("",))[0]))
        if wait > 0:
            return _told(scope, 429, f"too many requests; try again in {wait:.0f} s", {"Retry-After": str(math.ceil(wait))})
        return None

    def _is_at_home(self, headers: Headers) -> bool:
        """Whether a request comes from no page, from a page of this server, or from one of an origin that is allowed."""
        origin = headers.get("origin")
        return origin is None or origin in self._settings.allowed_origins or _named(origin).netloc == headers.get("host")

    def _wait(self, who: str) -> float:
        """Seconds until ``who`` may ask again: a bucket that holds a minute's requests and fills evenly."""
        rate = self._settings.requests_per_minute
        if rate is None:
            return 0.0
        now = time.monotonic()
        there, at = self._asked.pop(who, (float(rate), now))
        there = min(float(rate), there + (now - at) * rate / 60)
        if len(self._asked) >= _CLIENTS:  # the one that has not asked for longest
            self._asked.pop(next(iter(self._asked)))
        self._asked[who] = (there - 1 if there >= 1 else there, now)
        return 0.0 if there >= 1 else (1 - there) * 60 / rate

    def _too_large(self, scope: Scope) -> JSONResponse:
        return _told(scope, 413, f"the body is larger than {self._settings.body_limit_mb} MiB")


class _Body:
    """A body whose length was not told, which ends where its limit is; what the application makes of that is not sent."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._left = receive, send, limit
        self.is_too_large = self.is_answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_large = True
            raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_large and not self.is_answered:
            return
        self.is_answered = True
        await self._send(message)


def _with_headers(send: Send, request_id: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in {**_HEADERS, "X-Request-Id": request_id}.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _told(scope: Scope, status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_content(get_route_path(scope), status, detail), status_code=status, headers=headers)


def _prefix(scope: Scope, headers: Headers) -> str:
    """The path that a proxy on this machine says it serves this server below; nobody else is believed."""
    told = headers.get("x-forwarded-prefix", "").rstrip("/")
    client = (scope.get("client") or ("",))[0]
    return told if client in _PROXIES and _PREFIX.fullmatch(told) else ""


def _key(headers: Headers) -> bytes:
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        # Clients of A1111 know names and passwords alone: the password is the key.
        with contextlib.suppress(ValueError):
            return base64.b64decode(key.strip(), validate=True).partition(b":")[2]
    return (key if kind.lower() == "bearer" else headers.get("x-api-key", "")).strip().encode("latin-1")


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    return (_named(f"//{header}").hostname or "").lower()


def _named(address: str) -> SplitResult:
    """The parts of an address; of one that is none, nothing."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _own_names(settings: Settings) -> set[str] | None:
    """What a server may be called: as it was told, or as its own machine is if it listens to that alone; None for anything.

    A page that has its own name point to this machine would otherwise be of the server's own origin (DNS rebinding).
    """
    if settings.own_names:
        return set(settings.own_names)
    try:
        is_own = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return None
    return {"localhost", "127.0.0.1", "::1", settings.host} if is_own else None
