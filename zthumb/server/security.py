"""Middleware before every route: checks host, origin, API key, body size and request rate."""

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
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from zthumb.server import sessions
from zthumb.server.api import client as pages
from zthumb.server.api.error_content import error_content
from zthumb.server.settings import Settings

_LOG = logging.getLogger("zthumb")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PUBLIC_PATHS = ("/health/", pages.FILES)
_READ_BY_PAGES = (
    "/images",
    "/jobs",
    "/events",
    "/session",
    "/adapters",
    "/reports",
    "/training",
    "/runs",
    "/datasets",
)
_PROMPT = "/prompts/read"
"""A prompt is read again and again while it is typed."""
_SESSIONS_PER_MINUTE = 12
_UNSAFE_METHODS = ("POST", "DELETE", "PUT", "PATCH")
_MAX_CLIENTS = 10_000
_TRUSTED_PROXIES = ("127.0.0.1", "::1")
"""Proxies on this machine. Forwarding headers from any other address are ignored."""

_PATH_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class BehindProxy:
    """ASGI middleware that accepts from a proxy on this machine the client's address, the scheme and the path prefix."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        # uvicorn and starlette define different types for the same ASGI interface.
        wrapped: Any = ProxyHeadersMiddleware(app, trusted_hosts=list(_TRUSTED_PROXIES))  # type: ignore[arg-type]
        self._app: ASGIApp = wrapped
        self._root_path = settings.root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as it was before the proxy."""
        if scope["type"] == "http":
            # Before uvicorn's middleware replaces the proxy's address with the client's.
            scope["root_path"] = _forwarded_prefix(scope, Headers(scope=scope)) or self._root_path
        await self._app(scope, receive, send)


class _TooLarge(Exception):
    """A request body exceeds its limit."""


class SecurityMiddleware:
    """ASGI middleware that refuses requests by host, origin, API key, body size and rate, and adds security headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = [key.encode() for key in settings.keys]
        self._hosts = _allowed_hosts(settings)
        # Token buckets: client → requests left and the time of the last request.
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = uuid.uuid4().hex
        send = _with_headers(send, request_id)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        body = _LimitedBody(receive, send, self._limit(scope))
        with contextlib.suppress(_TooLarge):
            try:
                await self._app(scope, body.receive, body.send)
            except _TooLarge:
                raise
            except Exception:
                await self._handle_failure(scope, request_id, body, send)
        if body.is_too_large and not body.is_answered:
            await self._too_large(scope)(scope, receive, send)

    async def _handle_failure(self, scope: Scope, request_id: str, body: "_LimitedBody", send: Send) -> None:
        """Log an unexpected exception under the request's id; the response has the id but no details."""
        _LOG.exception("request %s failed", request_id)
        scope["app"].state.service.metrics.refused(500)
        if not body.is_answered:
            await _error_response(scope, 500, "internal server error; see the server's log")(scope, body.receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        """Return the response to a request that is refused, or None."""
        host = _host(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return _error_response(scope, 421, f"{host!r} is not a name of this server (ZTHUMB_ALLOWED_HOSTS)")
        if scope["method"] in _UNSAFE_METHODS and not self._is_origin_allowed(headers):
            return _error_response(scope, 403, "pages of other origins may not call this server (ZTHUMB_ORIGINS)")
        if int(headers.get("content-length") or 0) > self._limit(scope):
            return self._too_large(scope)
        client = str((scope.get("client") or ("",))[0])
        if _opens_session(scope):
            # A key must not be found by trying.
            wait = self._seconds_to_wait(f"session of {client}", _SESSIONS_PER_MINUTE)
            return self._too_many(scope, wait) if wait > 0 else None
        if _is_public(scope):
            return None
        api_key = _api_key(headers) or self._key_of_session(headers)
        if self._keys and not any(hmac.compare_digest(api_key, key) for key in self._keys):
            return _error_response(scope, 401, "an API key is needed: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        if _reads_for_a_page(scope):
            return None
        # Without configured keys the key is not checked and must not identify the client.
        identity = api_key.decode("latin-1") if self._keys else client
        wait = self._seconds_to_wait(identity, self._settings.requests_per_minute)
        return self._too_many(scope, wait) if wait > 0 else None

    def _key_of_session(self, headers: Headers) -> bytes:
        """Return the API key that the session in the cookie was opened with; empty if there is none."""
        cookie = cookie_parser(headers.get("cookie", "")).get(sessions.COOKIE, "")
        return sessions.opened_by(cookie, self._keys) or b""

    def _is_origin_allowed(self, headers: Headers) -> bool:
        """Return whether a request comes from no page, from a page of this server, or from an allowed origin."""
        origin = headers.get("origin")
        return origin is None or origin in self._settings.allowed_origins or _split_url(origin).netloc == headers.get("host")

    def _seconds_to_wait(self, client: str, rate: int | None) -> float:
        """Return the seconds until ``client`` may send a request; 0 takes one from its token bucket.

        The bucket holds a minute's requests and refills evenly.
        """
        if rate is None:
            return 0.0
        now = time.monotonic()
        tokens, last_request = self._buckets.pop(client, (float(rate), now))
        tokens = min(float(rate), tokens + (now - last_request) * rate / 60)
        if len(self._buckets) >= _MAX_CLIENTS:  # forget the client whose last request is the oldest
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) * 60 / rate

    def _too_many(self, scope: Scope, wait: float) -> JSONResponse:
        return _error_response(scope, 429, f"too many requests; try again in {wait:.0f} s", {"Retry-After": str(math.ceil(wait))})

    def _too_large(self, scope: Scope) -> JSONResponse:
        return _error_response(scope, 413, f"the body is larger than {self._limit(scope) // 2**20} MiB")

    def _limit(self, scope: Scope) -> int:
        """Return the largest body of a request, in bytes; adapters are larger than anything else."""
        is_adapter = scope["method"] == "PUT" and get_route_path(scope).startswith("/adapters/")
        megabytes = self._settings.adapter_upload_mb if is_adapter else self._settings.body_limit_mb
        return megabytes * 2**20


class _LimitedBody:
    """A request body whose length was not announced.

    Reading beyond ``limit`` bytes raises ``_TooLarge``, and the application's response to that is not sent.
    """

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._remaining_bytes = receive, send, limit
        self.is_too_large = self.is_answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._remaining_bytes -= len(message.get("body", b""))
        if self._remaining_bytes < 0:
            self.is_too_large = True
            raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_large and not self.is_answered:
            return
        self.is_answered = True
        await self._send(message)


def _is_public(scope: Scope) -> bool:
    """Whether a request needs no key: of health, of the client's page and files, and of a session that is to be opened."""
    path = get_route_path(scope)
    is_page = scope["method"] == "GET" and path in pages.PAGES
    return is_page or path.startswith(_PUBLIC_PATHS) or (path == "/session" and scope["method"] == "DELETE")


def _opens_session(scope: Scope) -> bool:
    return get_route_path(scope) == "/session" and scope["method"] == "POST"


def _reads_for_a_page(scope: Scope) -> bool:
    """Whether a request is one of the many that a page sends to show what is there: they cost next to nothing."""
    path = get_route_path(scope)
    return (scope["method"] == "GET" and path.startswith(_READ_BY_PAGES)) or path == _PROMPT


def _with_headers(send: Send, request_id: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in {**_HEADERS, "X-Request-Id": request_id}.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _error_response(scope: Scope, status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_content(get_route_path(scope), status, detail), status_code=status, headers=headers)


def _forwarded_prefix(scope: Scope, headers: Headers) -> str:
    """Return the path under which a proxy on this machine serves this server; empty if there is none or it is not local."""
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    client = (scope.get("client") or ("",))[0]
    return prefix if client in _TRUSTED_PROXIES and _PATH_PREFIX.fullmatch(prefix) else ""


def _api_key(headers: Headers) -> bytes:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        # Clients of A1111 send only user name and password: the password is the key.
        with contextlib.suppress(ValueError):
            return base64.b64decode(key.strip(), validate=True).partition(b":")[2]
    return (key if scheme.lower() == "bearer" else headers.get("x-api-key", "")).strip().encode("latin-1")


def _host(header: str) -> str:
    """Return the name in a Host header, without its port."""
    return (_split_url(f"//{header}").hostname or "").lower()


def _split_url(url: str) -> SplitResult:
    """Return the parts of a URL, all empty if it is malformed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _allowed_hosts(settings: Settings) -> set[str] | None:
    """Return the accepted host names; None accepts any.

    They are those of the settings, or this machine's own names if the server listens on it alone. Otherwise a page whose own
    name resolves to this machine would be of the server's own origin (DNS rebinding).
    """
    if settings.allowed_host_names:
        return set(settings.allowed_host_names)
    try:
        is_loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return None
    return {"localhost", "127.0.0.1", "::1", settings.host} if is_loopback else None
