"""Behind a proxy that serves it under a path, every URL in the server's responses works through the proxy."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import settings, started

pytestmark = pytest.mark.slow

REQUEST = {"prompt": "a", "width": 64, "height": 64, "steps": 1, "response_format": "url"}


def test_the_root_path_of_the_settings_is_the_prefix_of_every_url(models: Path) -> None:
    with started(settings(models, root_path="/sd")) as client:
        assert "'/sd/openapi.json'" in client.get("/docs").text.replace('"', "'")
        assert client.post("/generate", json=REQUEST).json()["images"][0]["url"].startswith("/sd/images/")
        # Routes also work if the proxy does not strip the prefix.
        assert client.get("/sd/models").status_code == 200
        response = client.post(
            "/sd/v1/images/generations", json={"prompt": "a", "size": "64x64", "steps": 1, "response_format": "url"}
        )
        assert response.json()["data"][0]["url"].startswith("http://127.0.0.1:8000/sd/images/")
        assert client.get(response.json()["data"][0]["url"]).status_code == 200


def test_a_proxy_on_this_machine_may_send_the_prefix(client: TestClient) -> None:
    prefix = {"X-Forwarded-Prefix": "/sd"}

    assert "/sd/openapi.json" in client.get("/docs", headers=prefix).text
    assert client.post("/generate", json=REQUEST, headers=prefix).json()["images"][0]["url"].startswith("/sd/images/")
    # The prefix is accepted from the proxy although it forwards another client's address.
    headers = {**prefix, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert "/sd/openapi.json" in client.get("/docs", headers=headers).text
    # An invalid prefix is ignored.
    assert (
        client.post("/generate", json=REQUEST, headers={"X-Forwarded-Prefix": "//evil"})
        .json()["images"][0]["url"]
        .startswith("/images/")
    )
