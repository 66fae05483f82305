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
from zthumb.prompts import lpw

LONG = "a photo of a red star, " * 20 + "on a blue background"


def _made(client: TestClient, **request: object) -> NDArray[np.uint8]:
    return pixels(client.post("/generate", json={"seed": 3, "steps": 4, **request}))


@pytest.mark.parametrize(("parser", "weighted"), [("lpw", "a (red:1.6) star"), ("compel", "a (red)1.6 star")])
def test_a_weight_changes_the_image(client: TestClient, parser: str, weighted: str) -> None:
    plain, heavy = (_made(client, prompt=prompt, prompt_parser=parser) for prompt in ("a red star", weighted))
    assert not np.array_equal(plain, heavy)
    assert not np.array_equal(_made(client, prompt=weighted), heavy)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize(
    ("parser", "text", "told"),
    [
        ("lpw", "a (red:1.2.3) star", "at character 8: '1.2.3' is no weight"),
        ("compel", "a (red star", "character 3: ( is never closed"),
    ],
)
def test_a_malformed_prompt_is_refused_with_the_place(client: TestClient, parser: str, text: str, told: str, field: str) -> None:
    request = {"prompt": "a star", field: text, "prompt_parser": parser}
    answer = client.post("/generate", json=request)
    assert answer.status_code == 422
    assert field in answer.text
    assert told in answer.text
    # The same characters are a prompt like any other where marks mean nothing.
    assert client.post("/generate", json={**request, "prompt_parser": "plain", "steps": 1}).status_code == 200


def test_an_unknown_parser_is_refused(client: TestClient) -> None:
    answer = client.post("/generate", json={"prompt": "x", "prompt_parser": "lwp"})
    assert answer.status_code == 422
    assert "Did you mean 'lpw'?" in answer.text


def test_what_is_not_read_is_told(client: TestClient) -> None:
    truncated_text = client.post("/generate", json={"prompt": LONG, "steps": 1}).json()
    assert "its end is not read: 'star, a photo" in truncated_text["warnings"][0]
    for parser in ("lpw", "compel"):
        assert client.post("/generate", json={"prompt": LONG, "steps": 1, "prompt_parser": parser}).json()["warnings"] == []


def test_a_long_negative_prompt_beside_a_short_prompt(client: TestClient) -> None:
    texts = (LONG, LONG.replace("blue", "red"))
    one, other = (_made(client, prompt="a star", negative_prompt=text, prompt_parser="lpw") for text in texts)
    assert not np.array_equal(one, other)


def test_prompts_of_several_lengths_at_once_are_each_as_alone(client: TestClient) -> None:
    prompts = ["a red star", "a red star BREAK on a blue background", LONG, "a (green:1.4) circle"]
    alone = [_made(client, prompt=prompt, prompt_parser="lpw") for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(lambda prompt: _made(client, prompt=prompt, prompt_parser="lpw"), prompts))
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 2


def test_a_servers_own_parser_is_a_setting(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_PARSER", "lpw")
    with started(settings(models)) as client:
        assert client.post("/generate", json={"prompt": "a (red:99) star", "steps": 1}).status_code == 422
        told = client.get("/capabilities").json()
    assert told["prompt_parsers"] == ["compel", "lpw", "plain"]
    monkeypatch.setenv("PROMPT_PARSER", "lwp")
    with pytest.raises((ValidationError, BadInput), match="lpw"):
        settings(models)


def test_what_one_asks_wrongly_is_no_fault_of_those_beside_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = lpw.PARSER.encode

    def fails(text: str, *others: Any) -> Any:
        if text == "boom":
            raise StageFailed("a fault in one prompt")
        return encode(text, *others)

    alone = _made(client, prompt="a red star", prompt_parser="lpw")
    monkeypatch.setattr(type(lpw.PARSER), "encode", lambda _, text, *others: fails(text, *others))
    asked = [{"prompt": prompt, "prompt_parser": "lpw", "seed": 3, "steps": 4} for prompt in ("a", "boom", "a red star", "b")]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda request: client.post("/generate", json=request), asked))
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert np.abs(pixels(answers[2]).astype(int) - alone.astype(int)).max() <= 2


def test_the_end_of_a_negative_prompt_that_is_not_read_is_told_too(client: TestClient) -> None:
    told = client.post("/generate", json={"prompt": "x", "negative_prompt": LONG, "steps": 1}).json()
    assert told["warnings"][0].startswith("negative_prompt: its end is not read")
