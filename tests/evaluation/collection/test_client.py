"""The client with servers that are busy, broken or gone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evaluation.collection import client as client_module
from evaluation.collection.client import Client
from foundation.errors import BadInput, StageFailed

GOOD = {"images": [{"b64_json": "aGk="}], "meta": {"loras": [], "batch_size": 1}}


@contextmanager
def _serve(*responses: tuple[int, bytes, dict[str, str]]) -> Iterator[tuple[Client, list[str]]]:
    """Yield a client of a server that gives ``responses``, the last one repeatedly, and the paths that were requested."""
    requested = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body, headers = responses[min(len(requested), len(responses) - 1)]
            requested.append(self.path)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield Client(f"http://127.0.0.1:{server.server_port}"), requested
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client has waited between attempts, without waiting."""
    delays = list[float]()
    monkeypatch.setattr(client_module.time, "sleep", delays.append)
    return delays


def _body(response: object) -> bytes:
    return json.dumps(response).encode()


def test_a_busy_server_is_asked_again_after_the_delay_it_names(delays: list[float]) -> None:
    busy = [(429, b"{}", {"retry-after": "7"}), (503, b"{}", {})]
    with _serve(*busy, (200, _body(GOOD), {})) as (client, requested):
        assert client.generate({"prompt": "a"}).images == (b"hi",)
    assert len(requested) == 3
    assert delays == [7.0, 4.0]


def test_a_server_that_stays_busy_is_given_up(delays: list[float]) -> None:
    full = (429, _body({"detail": "the queue is full"}), {"retry-after": "1"})
    with _serve(full) as (client, requested), pytest.raises(StageFailed, match="failed with 429: the queue is full"):
        client.generate({"prompt": "a"})
    assert len(requested) == 6


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        ((422, _body({"detail": "steps: too many"}), {}), BadInput, "refused with 422: steps: too many"),
        ((500, b"oops", {}), StageFailed, "failed with 500: oops"),
        ((200, b"<html>", {}), StageFailed, "not JSON"),
        ((200, _body({**GOOD, "images": []}), {}), StageFailed, "returned 0 of 1 images"),
    ],
)
def test_an_invalid_response_is_an_error_that_says_why(
    response: tuple[int, bytes, dict[str, str]], error: type[Exception], message: str
) -> None:
    with _serve(response) as (client, _), pytest.raises(error, match=message):
        client.generate({"prompt": "a"})


def test_a_server_that_does_not_run_is_reported() -> None:
    with pytest.raises(StageFailed, match="does not answer"):
        Client("http://127.0.0.1:9").generate({"prompt": "a"})
