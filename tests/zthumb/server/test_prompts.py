"""Prompt parsers over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pydantic import ValidationError

from foundation.errors import BadInput, StageFailed
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.generation.prompts import lpw

LONG = "a photo of a red star, " * 20 + "on a blue background"


def _generate(client: TestClient, **request: object) -> NDArray[np.uint8]:
    return pixels(client.post("/generate", json={"seed": 3, "steps": 4, **request}))


@pytest.mark.parametrize(("parser", "weighted"), [("lpw", "a (red:1.6) star"), ("compel", "a (red)1.6 star")])
def test_a_weight_changes_the_image(client: TestClient, parser: str, weighted: str) -> None:
    plain, heavy = (_generate(client, prompt=prompt, prompt_parser=parser) for prompt in ("a red star", weighted))
    assert not np.array_equal(plain, heavy)
    assert not np.array_equal(_generate(client, prompt=weighted), heavy)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize(
    ("parser", "text", "message"),
    [
        ("lpw", "a (red:1.2.3) star", "at character 8: '1.2.3' is not a weight"),
        ("compel", "a (red star", "character 3: ( is never closed"),
    ],
)
def test_a_malformed_prompt_is_refused_with_the_position(
    client: TestClient, parser: str, text: str, message: str, field: str
) -> None:
    request = {"prompt": "a star", field: text, "prompt_parser": parser}
    response = client.post("/generate", json=request)
    assert response.status_code == 422
    assert field in response.text
    assert message in response.text
    # The plain parser has no marks: the same characters are a valid prompt.
    assert client.post("/generate", json={**request, "prompt_parser": "plain", "steps": 1}).status_code == 200


def test_an_unknown_parser_is_refused(client: TestClient) -> None:
    response = client.post("/generate", json={"prompt": "x", "prompt_parser": "lwp"})
    assert response.status_code == 422
    assert "Did you mean 'lpw'?" in response.text


def test_the_truncated_end_of_a_prompt_is_reported(client: TestClient) -> None:
    truncated = client.post("/generate", json={"prompt": LONG, "steps": 1}).json()
    assert "its end was ignored: 'star, a photo" in truncated["warnings"][0]
    for parser in ("lpw", "compel"):
        assert client.post("/generate", json={"prompt": LONG, "steps": 1, "prompt_parser": parser}).json()["warnings"] == []


def test_a_long_negative_prompt_with_a_short_prompt(client: TestClient) -> None:
    texts = (LONG, LONG.replace("blue", "red"))
    first, second = (_generate(client, prompt="a star", negative_prompt=text, prompt_parser="lpw") for text in texts)
    assert not np.array_equal(first, second)


def test_concurrent_prompts_of_different_lengths_give_the_same_images_as_alone(client: TestClient) -> None:
    prompts = ["a red star", "a red star BREAK on a blue background", LONG, "a (green:1.4) circle"]
    alone = [_generate(client, prompt=prompt, prompt_parser="lpw") for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as pool:
        concurrent = list(pool.map(lambda prompt: _generate(client, prompt=prompt, prompt_parser="lpw"), prompts))
    for expected, image in zip(alone, concurrent, strict=True):
        assert np.abs(expected.astype(int) - image.astype(int)).max() <= 2


def test_the_default_parser_is_a_setting(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_PARSER", "lpw")
    with started(settings(models)) as client:
        assert client.post("/generate", json={"prompt": "a (red:99) star", "steps": 1}).status_code == 422
        capabilities = client.get("/capabilities").json()
    assert capabilities["prompt_parsers"] == ["compel", "lpw", "plain"]
    monkeypatch.setenv("PROMPT_PARSER", "lwp")
    with pytest.raises((ValidationError, BadInput), match="lpw"):
        settings(models)


def test_a_failing_request_does_not_fail_the_others_in_its_batch(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = lpw.PARSER.encode

    def fail_on_boom(text: str, *arguments: Any) -> Any:
        if text == "boom":
            raise StageFailed("a fault in one prompt")
        return encode(text, *arguments)

    alone = _generate(client, prompt="a red star", prompt_parser="lpw")
    monkeypatch.setattr(type(lpw.PARSER), "encode", lambda _, text, *arguments: fail_on_boom(text, *arguments))
    requests = [{"prompt": prompt, "prompt_parser": "lpw", "seed": 3, "steps": 4} for prompt in ("a", "boom", "a red star", "b")]
    with ThreadPoolExecutor(len(requests)) as pool:
        responses = list(pool.map(lambda request: client.post("/generate", json=request), requests))
    assert [response.status_code for response in responses] == [200, 500, 200, 200]
    assert np.abs(pixels(responses[2]).astype(int) - alone.astype(int)).max() <= 2


def test_the_truncated_end_of_a_negative_prompt_is_reported_too(client: TestClient) -> None:
    truncated = client.post("/generate", json={"prompt": "x", "negative_prompt": LONG, "steps": 1}).json()
    assert truncated["warnings"][0].startswith("negative_prompt: too long; its end was ignored")
