"""A fake download server for tests, for Civitai and others: injects faults, and has a certificate of its own."""

import itertools
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.faults import INJECTED
from zthumb.sources.guard import Policy


@dataclass
class ReceivedRequest:
    """A request that the server received."""

    host: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeCivitai:
    """The server's files and behaviour.

    ``cuts``: after how many bytes each response breaks off, in turn; after the last one none does. ``statuses``: the status of
    each response, in turn; then 200.
    """

    files: dict[str, bytes | memoryview] = field(default_factory=dict)
    cuts: Iterator[int] = field(default_factory=lambda: iter(()))
    statuses: Iterator[int] = field(default_factory=lambda: iter(()))
    redirect: Callable[[str], str | None] = lambda _: None
    supports_ranges: bool = True
    etag: str | None = '"one"'
    needs_ticket: bool = False
    pause_s: float = 0.0
    content_type: str = "application/octet-stream"
    retry_after: str = "1"
    requests: list[ReceivedRequest] = field(default_factory=list)
    port: int = 0
    ca_bundle: Path = Path()
    _tickets: set[str] = field(default_factory=set)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    def policy(self, **options: Any) -> Policy:
        defaults = {"hosts": frozenset({"localhost"}), "allow_private": True, "ca_bundle": str(self.ca_bundle)}
        return Policy(**{**defaults, **options})

    def issue_ticket(self) -> str:
        """Return the secret of a signed link, which is valid for one response."""
        ticket = f"t{next(self._count)}"
        self._tickets.add(ticket)
        return ticket

    def redeem(self, ticket: str) -> bool:
        is_valid = ticket in self._tickets
        self._tickets.discard(ticket)
        return is_valid


@contextmanager
def running_civitai(folder: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> Iterator[FakeCivitai]:
    """Run a server on the loopback interface."""
    fake = FakeCivitai()
    fake.ca_bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(fake.ca_bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _respond(self, fake)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def _respond(handler: BaseHTTPRequestHandler, fake: FakeCivitai) -> None:
    path, _, query = handler.path.partition("?")
    received = {name.lower(): value for name, value in handler.headers.items()}
    fake.requests.append(ReceivedRequest(received.get("host", ""), handler.path, received))
    if location := fake.redirect(path):
        INJECTED["redirects"] += 1
        return _send(handler, 302, b"", {"location": location})
    if status := next(fake.statuses, 0):
        INJECTED[f"answers {status}"] += 1
        return _send(handler, status, b"no", {"retry-after": fake.retry_after} if status == 429 else {})
    if path not in fake.files:
        return _send(handler, 404, b"no", {})
    if fake.needs_ticket and not fake.redeem(query):
        INJECTED["expired links"] += 1
        return _send(handler, 403, b"expired", {})
    content, start = fake.files[path], _range_start(received, fake)
    INJECTED["slow bodies"] += bool(fake.pause_s)
    INJECTED["ranges not granted"] += "range" in received and not start
    if start >= len(content) > 0:
        return _send(handler, 416, b"", {"content-range": f"bytes */{len(content)}"})
    headers = {"content-type": fake.content_type, **({"etag": fake.etag} if fake.etag else {})}
    if start:
        headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return _send(handler, 206 if start else 200, content[start:], headers, next(fake.cuts, None), fake.pause_s)


def _range_start(received: dict[str, str], fake: FakeCivitai) -> int:
    if not fake.supports_ranges or "range" not in received or received.get("if-range") != fake.etag:
        return 0
    return int(received["range"].removeprefix("bytes=").rstrip("-"))


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes | memoryview,
    headers: dict[str, str],
    cut: int | None = None,
    pause_s: float = 0.0,
) -> None:
    handler.send_response(status)
    for name, value in {**headers, "content-length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    for start in range(0, len(body if cut is None else body[:cut]), 65536):
        handler.wfile.write(body[start : min(start + 65536, len(body) if cut is None else cut)])
        time.sleep(pause_s)
    if cut is not None and cut < len(body):
        INJECTED["broken connections"] += 1
        handler.close_connection = True
        handler.connection.close()
