"""The client against servers that are busy, broken or gone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evaluation import client as clients
from evaluation.client import Client
from foundation.errors import BadInput, StageFailed

GOOD = {"images": [{"b64_json": "aGk="}], "meta": {"loras": [], "together": 1}}


@contextmanager
def _serving(*answers: tuple[int, bytes, dict[str, str]]) -> Iterator[tuple[Client, list[str]]]:
    """A client of a server that answers so, the last one again and again; and what it was asked."""
    asked = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body, headers = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
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
        yield Client(f"http://127.0.0.1:{server.server_port}"), asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client has waited, without waiting."""
    found = list[float]()
    monkeypatch.setattr(clients.time, "sleep", found.append)
    return found


def _body(answer: object) -> bytes:
    return json.dumps(answer).encode()


def test_a_busy_server_is_asked_again_when_it_says(waited: list[float]) -> None:
    busy = [(429, b"{}", {"retry-after": "7"}), (503, b"{}", {})]
    with _serving(*busy, (200, _body(GOOD), {})) as (client, asked):
        assert client.generate({"prompt": "a"}).images == (b"hi",)
    assert len(asked) == 3
    assert waited == [7.0, 4.0]


def test_one_that_stays_busy_is_given_up(waited: list[float]) -> None:
    full = (429, _body({"detail": "the queue is full"}), {"retry-after": "1"})
    with _serving(full) as (client, asked), pytest.raises(StageFailed, match="failed with 429: the queue is full"):
        client.generate({"prompt": "a"})
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((422, _body({"detail": "steps: too many"}), {}), BadInput, "refused with 422: steps: too many"),
        ((500, b"oops", {}), StageFailed, "failed with 500: oops"),
        ((200, b"<html>", {}), StageFailed, "no JSON"),
        ((200, _body({**GOOD, "images": []}), {}), StageFailed, "answered 0 of 1 images"),
    ],
)
def test_what_is_no_answer_is_told(answer: tuple[int, bytes, dict[str, str]], error: type[Exception], told: str) -> None:
    with _serving(answer) as (client, _), pytest.raises(error, match=told):
        client.generate({"prompt": "a"})


def test_a_server_that_is_gone_is_told() -> None:
    with pytest.raises(StageFailed, match="does not answer"):
        Client("http://127.0.0.1:9").generate({"prompt": "a"})
