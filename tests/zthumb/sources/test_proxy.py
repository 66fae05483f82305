"""Behind a proxy, files are downloaded through it, and forbidden hosts are not reached through it either."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.fake_civitai import FakeCivitai
from zthumb.sources.download import File, download
from zthumb.sources.guard import Policy


class _Proxy:
    """A proxy that connects to any target of a CONNECT request, and records it."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        target = request.split()[1].decode()
        self.targets.append(target)
        host, _, port = target.rpartition(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_relay, args=(source, sink), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Proxy]:
    running = _Proxy()
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, running.address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    yield running
    running.close()


def test_a_file_is_downloaded_through_the_proxy(fake_civitai: FakeCivitai, proxy: _Proxy, tmp_path: Path) -> None:
    fake_civitai.files["/a"] = b"weights"

    download(File(fake_civitai.url("/a")), tmp_path / "a", fake_civitai.policy())

    assert (tmp_path / "a").read_bytes() == b"weights"
    assert proxy.targets == [f"localhost:{fake_civitai.port}"]


def test_hosts_in_no_proxy_are_reached_directly(
    fake_civitai: FakeCivitai, proxy: _Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    fake_civitai.files["/a"] = b"weights"

    download(File(fake_civitai.url("/a")), tmp_path / "a", fake_civitai.policy())

    assert proxy.targets == []


def test_a_private_network_is_not_reached_through_the_proxy_either(
    fake_civitai: FakeCivitai, proxy: _Proxy, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="in a private network"):
        download(File(fake_civitai.url("/a")), tmp_path / "a", fake_civitai.policy(allow_private=False))
    with pytest.raises(BadInput, match="not one that models are downloaded from"):
        download(File("https://example.org/a"), tmp_path / "a", Policy())
    assert proxy.targets == []


def test_the_error_names_a_proxy_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_civitai: FakeCivitai
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://someone:secret@127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")

    with pytest.raises(SourceFailed, match=r"through the proxy 127\.0\.0\.1:9 that HTTPS_PROXY sets") as failed:
        download(File(fake_civitai.url("/a")), tmp_path / "a", fake_civitai.policy(), sleep=lambda _: None)
    assert "secret" not in str(failed.value)
