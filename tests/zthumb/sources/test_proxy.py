"""Behind a proxy files come by way of it, and nothing that may not be asked is asked through it either."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.shop import Shop
from zthumb.sources.download import File, download
from zthumb.sources.guard import Policy


class _Proxy:
    """One that connects to whatever CONNECT names, and notes it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
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
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        target = head.split()[1].decode()
        self.asked.append(target)
        host, _, port = target.rpartition(":")
        other = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for one, two in ((client, other), (other, client)):
            threading.Thread(target=_relay, args=(one, two), daemon=True).start()


def _relay(one: socket.socket, two: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            two.sendall(data)
        two.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Proxy]:
    made = _Proxy()
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, made.address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    yield made
    made.close()


def test_a_file_comes_through_the_proxy(shop: Shop, proxy: _Proxy, tmp_path: Path) -> None:
    shop.stock["/a"] = b"weights"

    download(File(shop.url("/a")), tmp_path / "a", shop.policy())

    assert (tmp_path / "a").read_bytes() == b"weights"
    assert proxy.asked == [f"localhost:{shop.port}"]


def test_hosts_of_no_proxy_are_asked_directly(shop: Shop, proxy: _Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    shop.stock["/a"] = b"weights"

    download(File(shop.url("/a")), tmp_path / "a", shop.policy())

    assert proxy.asked == []


def test_a_machine_of_an_inner_network_is_not_asked_through_the_proxy_either(shop: Shop, proxy: _Proxy, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a machine of an inner network"):
        download(File(shop.url("/a")), tmp_path / "a", shop.policy(may_be_private=False))
    with pytest.raises(BadInput, match="not one that models are fetched from"):
        download(File("https://example.org/a"), tmp_path / "a", Policy())
    assert proxy.asked == []


def test_a_proxy_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://someone:secret@127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")

    with pytest.raises(SourceFailed, match=r"through the proxy 127\.0\.0\.1:9 that HTTPS_PROXY names") as failed:
        download(File(shop.url("/a")), tmp_path / "a", shop.policy(), sleep=lambda _: None)
    assert "secret" not in str(failed.value)
