"""A real server with the miniature and a browser on it: what a page logs as an error, or asks of another host, is a failure."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.zthumb.server.conftest import models

__all__ = ["models"]
STARTED_S, SHOWN_MS = 240, 60_000
"""How long a server may take to start, and a page to show something, beside other tests."""
CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu"]
EXPECTED = (
    "net::ERR_CONNECTION_REFUSED",
    "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "net::ERR_CONNECTION_RESET",
    "net::ERR_FAILED",
    "422 (Unprocessable Entity)",
)
"""What a browser logs by itself while a server is away, and of a request that is refused."""


class Server:
    """A server process, which can be killed and started again with the same data."""

    def __init__(self, models: Path, data: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "MODEL": str(models / "mini-sdxl"),
            "ZTHUMB_MODELS_FOLDER": str(models),
            "ZTHUMB_DATA_FOLDER": str(data),
            "ZTHUMB_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zthumb.cli", "serve"], env=self._environment, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + STARTED_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.address}/health/ready", timeout=1).ok:
                    return
            except requests.RequestException:
                assert self._process.poll() is None
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    def stop(self, timeout: float) -> int:
        """Ask it to end; return its exit code."""
        self._process.terminate()
        return self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="package")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers, which end with the tests."""
    servers: list[Server] = []

    def start(models: Path, **environment: str) -> Server:
        servers.append(Server(models, tmp_path_factory.mktemp("data"), **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def server(models: Path, start_server: Callable[..., Server]) -> Server:
    return start_server(models)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    # What is expected of a page may take long beside other tests; one that does not come is a failure all the same.
    expect.set_options(timeout=SHOWN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SHOWN_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((server.address, "data:", "blob:")) else errors.append(request.url),
    )
    page.goto(server.address)
    yield page
    assert [error for error in errors if not any(known in error for known in EXPECTED)] == []
    context.close()
