"""A server that behaves like those that models are fetched from, faults and all, with a certificate of its own."""

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
class Asked:
    """A request as it came."""

    host: str
    path: str
    headers: dict[str, str]


@dataclass
class Shop:
    """What it has and how it behaves. ``cut``: after how many bytes each answer breaks off, in turn; then none does."""

    stock: dict[str, bytes | memoryview] = field(default_factory=dict)
    cut: Iterator[int] = field(default_factory=lambda: iter(()))
    status: Iterator[int] = field(default_factory=lambda: iter(()))
    redirect: Callable[[str], str | None] = lambda _: None
    ranges: bool = True
    etag: str | None = '"one"'
    signed: bool = False
    pause_s: float = 0.0
    kind: str = "application/octet-stream"
    patience: str = "1"
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    certificate: Path = Path()
    _tickets: set[str] = field(default_factory=set)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    def policy(self, **options: Any) -> Policy:
        told = {"hosts": frozenset({"localhost"}), "may_be_private": True, "certificate": str(self.certificate)}
        return Policy(**{**told, **options})

    def ticket(self) -> str:
        """A signed link's secret, which is good for one answer."""
        ticket = f"t{next(self._count)}"
        self._tickets.add(ticket)
        return ticket

    def takes(self, ticket: str) -> bool:
        known = ticket in self._tickets
        self._tickets.discard(ticket)
        return known


@contextmanager
def opened(folder: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> Iterator[Shop]:
    """A shop on loopback that is open for as long as this is."""
    shop = Shop()
    shop.certificate = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(shop.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, shop)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    shop.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, shop: Shop) -> None:
    path, _, query = handler.path.partition("?")
    told = {name.lower(): value for name, value in handler.headers.items()}
    shop.asked.append(Asked(told.get("host", ""), handler.path, told))
    if onward := shop.redirect(path):
        INJECTED["redirects"] += 1
        return _send(handler, 302, b"", {"location": onward})
    if status := next(shop.status, 0):
        INJECTED[f"answers {status}"] += 1
        return _send(handler, status, b"no", {"retry-after": shop.patience} if status == 429 else {})
    if path not in shop.stock:
        return _send(handler, 404, b"no", {})
    if shop.signed and not shop.takes(query):
        INJECTED["expired links"] += 1
        return _send(handler, 403, b"expired", {})
    whole, begin = shop.stock[path], _begin(told, shop)
    INJECTED["slow bodies"] += bool(shop.pause_s)
    INJECTED["ranges not granted"] += "range" in told and not begin
    if begin >= len(whole) > 0:
        return _send(handler, 416, b"", {"content-range": f"bytes */{len(whole)}"})
    headers = {"content-type": shop.kind, **({"etag": shop.etag} if shop.etag else {})}
    if begin:
        headers["content-range"] = f"bytes {begin}-{len(whole) - 1}/{len(whole)}"
    return _send(handler, 206 if begin else 200, whole[begin:], headers, next(shop.cut, None), shop.pause_s)


def _begin(told: dict[str, str], shop: Shop) -> int:
    if not shop.ranges or "range" not in told or told.get("if-range") != shop.etag:
        return 0
    return int(told["range"].removeprefix("bytes=").rstrip("-"))


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
        INJECTED["broken lines"] += 1
        handler.close_connection = True
        handler.connection.close()
