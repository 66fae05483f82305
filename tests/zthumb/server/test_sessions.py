"""A page's session takes the place of an API key: for images and events, which a browser asks for without one."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import settings, started
from zthumb.server import sessions

KEYS = [b"first", b"second"]


def test_a_session_is_of_the_key_that_opened_it_until_it_ends() -> None:
    cookie = sessions.issue(b"second", now=1000)
    assert sessions.opened_by(cookie, KEYS, now=1001) == b"second"
    assert sessions.opened_by(cookie, [b"first"], now=1001) is None
    assert sessions.opened_by(cookie, KEYS, now=1001 + sessions.LIFETIME_S) is None


@pytest.mark.parametrize("cookie", ["", ".", "99999999999.", "x.y", "99999999999.00", "٣.00"])
def test_what_was_not_issued_opens_nothing(cookie: str) -> None:
    assert sessions.opened_by(cookie, KEYS, now=1) is None


@pytest.mark.slow
def test_a_page_is_shown_before_and_everything_else_after_the_key(models: Path) -> None:
    with started(settings(models, api_keys="secret")) as client:
        assert client.get("/").status_code in (200, 404)
        assert client.get("/session").status_code == client.get("/images").status_code == 401
        assert client.post("/session", json={"key": "wrong"}).status_code == 401
        # When the key is given once
        response = client.post("/session", json={"key": "secret"})
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        # Then the browser's own requests are let in, and no page of another origin's are
        assert client.get("/images").status_code == 200
        refused = client.post("/jobs", json={"prompt": "x"}, headers={"origin": "https://evil.example"})
        assert refused.status_code == 403
        client.delete("/session")
        assert client.get("/images").status_code == 401


@pytest.mark.slow
def test_without_keys_no_session_is_needed(client: TestClient) -> None:
    assert client.get("/session").json() == {"needs_key": False}


@pytest.mark.slow
def test_a_key_is_not_found_by_trying_and_odd_cookies_are_no_errors(models: Path) -> None:
    with started(settings(models, api_keys="secret")) as client:
        for cookie in ("9999999999.é", "9" * 5000 + ".00", "x"):
            refused = client.get("/images", headers={"cookie": f"{sessions.COOKIE}={cookie}".encode("latin-1")})
            assert refused.status_code == 401
        codes = {client.post("/session", json={"key": "wrong"}).status_code for _ in range(20)}
        assert codes == {401, 429}


@pytest.mark.slow
def test_what_a_page_reads_is_not_counted(models: Path) -> None:
    with started(settings(models, requests_per_minute=2)) as client:
        assert {client.get("/images").status_code for _ in range(10)} == {200}
        codes = [client.post("/images/inspect", content=b"x").status_code for _ in range(4)]
        assert codes[-1] == 429
