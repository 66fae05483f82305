"""Behind a proxy that serves it below a path, every address that the server gives leads back to it."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import settings, started

pytestmark = pytest.mark.slow

ASKED = {"prompt": "a", "width": 64, "height": 64, "steps": 1, "response_format": "url"}


def test_a_path_of_the_settings_is_before_every_address(models: Path) -> None:
    with started(settings(models, root_path="/sd")) as client:
        assert "'/sd/openapi.json'" in client.get("/docs").text.replace('"', "'")
        assert client.post("/generate", json=ASKED).json()["images"][0]["url"].startswith("/sd/images/")
        # Also where the proxy passes the path on.
        assert client.get("/sd/models").status_code == 200
        found = client.post(
            "/sd/v1/images/generations", json={"prompt": "a", "size": "64x64", "steps": 1, "response_format": "url"}
        )
        assert found.json()["data"][0]["url"].startswith("http://127.0.0.1:8000/sd/images/")
        assert client.get(found.json()["data"][0]["url"]).status_code == 200


def test_a_proxy_on_this_machine_may_tell_the_path(client: TestClient) -> None:
    prefix = {"X-Forwarded-Prefix": "/sd"}

    assert "/sd/openapi.json" in client.get("/docs", headers=prefix).text
    assert client.post("/generate", json=ASKED, headers=prefix).json()["images"][0]["url"].startswith("/sd/images/")
    # Proxies say who asked as well, and that nobody else may tell a path.
    told = {**prefix, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert "/sd/openapi.json" in client.get("/docs", headers=told).text
    # What is no path is not believed.
    assert (
        client.post("/generate", json=ASKED, headers={"X-Forwarded-Prefix": "//evil"})
        .json()["images"][0]["url"]
        .startswith("/images/")
    )
