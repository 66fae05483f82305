"""The checks of the security middleware: host, origin, API key, body size and request rate, without a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from zthumb.server.security import SecurityMiddleware
from zthumb.server.settings import Settings

BASE_URL = "http://127.0.0.1:8000"


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"bytes": len(await request.body())})


def _client(**values: Any) -> TestClient:
    app = Starlette(routes=[Route(path, _echo, methods=["GET", "POST"]) for path in ("/x", "/health/live")])
    return TestClient(SecurityMiddleware(app, Settings(**values)), base_url=BASE_URL)


def test_a_valid_request_is_accepted_and_the_response_has_security_headers() -> None:
    response = _client().post("/x", content=b"1234")
    assert response.json() == {"bytes": 4}
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer two"}, {"x-api-key": "on"}, {"authorization": "Basic one"}])
def test_without_a_valid_key_only_health_routes_answer(headers: dict[str, str]) -> None:
    client = _client(api_keys="one, 2")
    refused = client.get("/x", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/health/live", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{"authorization": "Bearer one"}, {"authorization": "bearer 2"}, {"x-api-key": "one"}])
def test_a_valid_key_is_accepted(headers: dict[str, str]) -> None:
    assert _client(api_keys="one, 2").get("/x", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        (BASE_URL, 200),
        ("https://mine.example", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_origins_are_refused(origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert _client(origins="https://mine.example").post("/x", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:8000", 200), ("[::1]:8000", 200), ("evil.example:8000", 421), ("", 421), ("[::1", 421)]
)
def test_a_local_server_accepts_only_local_host_names(host: str, status: int) -> None:
    assert _client().get("/x", headers={"host": host}).status_code == status


def test_a_public_server_accepts_any_host_name() -> None:
    assert _client(host="0.0.0.0").get("/x", headers={"host": "images.example"}).status_code == 200


@pytest.mark.parametrize(("host", "status"), [("images.example:8000", 200), ("localhost", 421), ("evil.example", 421)])
def test_a_server_with_configured_names_accepts_only_those(host: str, status: int) -> None:
    assert _client(host="0.0.0.0", allowed_hosts="images.example").get("/x", headers={"host": host}).status_code == status


def _chunks(size: int) -> Iterator[bytes]:
    """Yield a body whose length is not announced in a header."""
    for _ in range(size // 2**16):
        yield b"x" * 2**16


def test_a_body_above_the_limit_is_refused_whether_its_length_is_announced_or_not() -> None:
    client = _client(body_limit_mb=1)
    assert client.post("/x", content=b"x" * 2**20).status_code == 200
    assert client.post("/x", content=b"x" * (2**20 + 1)).status_code == 413
    assert client.post("/x", content=_chunks(2**20)).status_code == 200
    assert client.post("/x", content=_chunks(2**21)).status_code == 413


def test_the_rate_limit_applies_to_each_client_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    client = _client(requests_per_minute=3, api_keys="one,other")
    statuses = [client.get("/x", headers={"x-api-key": "one"}).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert client.get("/x", headers={"x-api-key": "one"}).headers["retry-after"] == "20"
    assert client.get("/x", headers={"x-api-key": "other"}).status_code == 200
    now += 20
    assert [client.get("/x", headers={"x-api-key": "one"}).status_code for _ in range(2)] == [200, 429]


def test_keys_are_not_printed(tmp_path: Path) -> None:
    settings = Settings(api_keys="secret-one", data_folder=tmp_path)  # type: ignore[arg-type]
    assert "secret-one" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_an_unchecked_key_does_not_evade_the_rate_limit() -> None:
    client = _client(requests_per_minute=1)
    statuses = [client.get("/x", headers={"x-api-key": str(number)}).status_code for number in range(3)]
    assert statuses == [200, 429, 429]
