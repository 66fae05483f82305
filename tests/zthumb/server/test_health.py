"""The health check of a container image."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from zthumb.server import health


@pytest.fixture
def requested_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run a server that is ready; yield the Host headers of its requests."""
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


def test_a_ready_server_is_healthy_whatever_proxy_is_configured(
    requested_hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.main() == 0
    assert requested_hosts[0].startswith("127.0.0.1:")


def test_the_check_uses_a_host_name_that_the_server_accepts(requested_hosts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZTHUMB_ALLOWED_HOSTS", "images.example.org, localhost")
    assert health.main() == 0
    assert requested_hosts == ["images.example.org"]


def test_a_server_that_does_not_respond_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ZTHUMB_PORT", str(unused.getsockname()[1]))
        assert health.main() == 1
