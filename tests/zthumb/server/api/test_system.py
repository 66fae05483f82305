"""What a server says of itself and of its machine, and how it reads prompts."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.slow


def test_what_keeps_it_from_working_is_found_with_the_remedy(client: TestClient) -> None:
    found = client.get("/findings").json()
    whats = [finding["what"] for finding in found["findings"]]
    assert any(what.startswith("Python 3.") for what in whats)
    assert any(what.startswith("memory of cpu: ") for what in whats)
    assert all(finding["remedy"] for finding in found["findings"] if finding["level"] != "ok")
    assert found["packages"]["torch"].startswith("2.")
    # The plan is that of the base that is served.
    assert found["plan"].startswith("full: everything on the device; ")
    assert "for 128 × 128, without a budget" in found["plan"]


def _read(client: TestClient, prompt: str, parser: str | None = None) -> dict[str, Any]:
    answer = client.post("/prompts/read", json={"prompt": prompt, "prompt_parser": parser})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _weights(found: dict[str, Any]) -> list[tuple[str, float]]:
    return [(fragment["text"], pytest.approx(fragment["weight"])) for fragment in found["fragments"]]


def test_a_prompt_is_read_as_a_request_would_read_it(client: TestClient) -> None:
    assert _weights(_read(client, "a (red:1.3) star")) == [("a (red:1.3) star", 1.0)]
    assert _weights(_read(client, "a (red:1.3) ((star))", "lpw")) == [("a ", 1.0), ("red", 1.3), (" ", 1.0), ("star", 1.21)]
    assert ("red", 1.1) in _weights(_read(client, "a red+ star", "compel"))


def test_what_changes_from_step_to_step_is_read_as_at_the_first(client: TestClient) -> None:
    found = _read(client, "a [red:blue:0.5] star <lora:strong:0.8>", "lpw")
    assert found["is_changing"]
    assert found["adapters"] == ["strong"]
    assert "".join(fragment["text"] for fragment in found["fragments"]).strip() == "a red star"


def test_the_parts_of_a_prompt_have_their_own_weights(client: TestClient) -> None:
    found = _read(client, "a star AND (a ring:2) :0.5", "lpw")
    assert not found["is_changing"]
    assert ("a ring", 1.0) in [(text.strip(), weight) for text, weight in _weights(found)]


def test_what_is_wrong_in_a_prompt_is_said_with_its_place(client: TestClient) -> None:
    answer = client.post("/prompts/read", json={"prompt": "a (red:1.2.3) star", "prompt_parser": "lpw"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("prompt: at character 8: ")
    unknown = client.post("/prompts/read", json={"prompt": "a", "prompt_parser": "lwp"})
    assert "lpw" in unknown.json()["detail"]
