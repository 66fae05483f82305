"""A real server of the miniature, and a proxy that adds a fault to it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evaluation.collection.local_server import serve
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import ROOT
from zthumb.adapters.layouts import save_kohya

Fault = Callable[[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]], dict[str, Any]]
"""Answers a request, given its fields and a function that sends fields to the real server."""


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the miniature, its extractor and an adapter."""
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "models" / "lora" / "a").mkdir(parents=True)
    for name in ("mini-sdxl", "mini-clip"):
        (workspace / "models" / name).symlink_to(ROOT / "models" / name)
    adapter = random_adapter(ROOT / "models" / "mini-sdxl")
    save_kohya(adapter, workspace / "models" / "lora" / "a" / "a.safetensors", *MINI_SDXL, {"ss_v2": "False"})
    return workspace


@pytest.fixture(scope="session")
def server(workspace: Path) -> Iterator[str]:
    """The address of a server without faults that runs in ``workspace``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        with serve("models/mini-sdxl", 4) as client:
            yield client.url


@contextmanager
def faulty_server(server: str, fault: Fault) -> Iterator[str]:
    """Yield the address of a proxy that passes on every request except POST /generate, which ``fault`` answers."""

    def forward(path: str, body: bytes | None) -> tuple[int, bytes]:
        request = urllib.request.Request(server + path, body, {"content-type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*forward(self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            response = fault(body, lambda fields: json.loads(forward(self.path, json.dumps(fields).encode())[1]))
            self._send(200, json.dumps(response).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
