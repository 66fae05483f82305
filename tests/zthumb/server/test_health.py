"""What an image's health check says."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from zthumb.server import health


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hosts by which a server that is ready was asked."""
    hosts = list[str]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(str(self.headers["host"]))
            self.send_response(200 if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("ZTHUMB_PORT", str(server.server_port))
    yield hosts
    server.shutdown()
    server.server_close()


def test_a_server_that_is_ready_is_healthy_whatever_proxy_there_is(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.main() == 0
    assert asked[0].startswith("127.0.0.1:")


def test_it_is_asked_by_a_name_that_it_goes_by(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZTHUMB_NAMES", "images.example.org, localhost")
    assert health.main() == 0
    assert asked == ["images.example.org"]


def test_where_nobody_answers_nobody_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ZTHUMB_PORT", str(free.getsockname()[1]))
        assert health.main() == 1
