"""Adapters named by hash or ref, and their trigger words in the prompt, over HTTP."""

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from foundation.hashing import hash_file
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import settings, started
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with an adapter that has a trigger word in its file, and one that has none."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mini-sdxl").symlink_to(MINIATURE)
    layers = dict(list(random_adapter(MINIATURE).layers.items())[:4])
    for name, metadata in (("with-trigger", {"modelspec.trigger_phrase": "z (badge)"}), ("without-trigger", {})):
        (folder / "lora" / name).mkdir(parents=True)
        adapter = Adapter(dict(list(layers.items())[: 3 if metadata else 4]))
        save_kohya(adapter, folder / "lora" / name / f"{name}.safetensors", *MINI_SDXL, {"ss_v2": "False", **metadata})
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with started(settings(models)) as client:
        yield client


def _generate(client: TestClient, *loras: dict[str, Any], prompt: str = "a star", **request: Any) -> dict[str, Any]:
    """Generate an image; return the response's body, with the prompt that the image was generated from."""
    response = client.post("/generate", json={"prompt": prompt, "steps": 1, "seed": 1, "loras": list(loras), **request})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    with Image.open(io.BytesIO(b64decode(body["images"][0]["b64_json"]))) as image:
        body["prompt"] = json.loads(image.info["zthumb"])["prompt"]
    return body


def test_a_trigger_word_is_prepended_to_the_prompt_only_on_request(client: TestClient) -> None:
    assert _generate(client, {"id": "with-trigger"})["prompt"] == "a star"
    body = _generate(client, {"id": "with-trigger", "trigger_weight": 1})
    assert body["prompt"] == "z (badge), a star"
    assert body["meta"]["loras"][0]["trigger"] == "z (badge)"


def test_a_trigger_word_is_weighted_in_the_syntax_of_the_parser(client: TestClient) -> None:
    lora = {"id": "with-trigger", "trigger_weight": 1.3}
    assert _generate(client, lora, prompt_parser="lpw")["prompt"] == r"(z \(badge\):1.3), a star"
    with_own_trigger = {**lora, "trigger": "zbadge"}
    assert _generate(client, with_own_trigger, prompt_parser="compel")["prompt"] == "(zbadge)1.3000, a star"
    refused = client.post("/generate", json={"prompt": "x", "loras": [lora]})
    assert refused.status_code == 422
    assert "prompt_parser plain knows no weights" in refused.text


def test_a_request_may_give_the_trigger_word_and_must_if_the_file_has_none(client: TestClient) -> None:
    assert _generate(client, {"id": "without-trigger", "trigger": "mxcat", "trigger_weight": 1})["prompt"] == "mxcat, a star"
    refused = client.post("/generate", json={"prompt": "x", "loras": [{"id": "without-trigger", "trigger_weight": 1}]})
    assert refused.status_code == 422
    assert "without-trigger.safetensors has no trigger word" in refused.text


def test_a_trigger_word_that_the_prompt_has_already_is_not_added_again(client: TestClient) -> None:
    body = _generate(client, {"id": "with-trigger", "trigger_weight": 1}, prompt="a Z (Badge) on blue")
    assert body["prompt"] == "a Z (Badge) on blue"
    assert "already has the trigger word" in body["warnings"][0]


def test_an_adapter_is_found_by_the_hash_of_its_file(client: TestClient, models: Path) -> None:
    digest = hash_file(models / "lora" / "with-trigger" / "with-trigger.safetensors")
    assert _generate(client, {"ref": f"sha256:{digest[:12]}"})["meta"]["loras"][0]["sha256"] == digest


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("sha256:00000000", "no adapter here has a hash that begins"),
        ("sha256:12", "at least 8 digits"),
        ("civitai:1@2", "must be downloaded first, and requests may not download here"),
        ("someone/adapter", "must be downloaded first"),
        ("http://example.org/a.safetensors", "only https URLs"),
        ("nobody", "is not an adapter"),
        ("models/../../etc/passwd", "is outside the models folder"),
        ("sha256:../../etc", "is not sha256:"),
    ],
)
def test_an_invalid_ref_is_refused(client: TestClient, ref: str, reason: str) -> None:
    response = client.post("/generate", json={"prompt": "x", "loras": [{"ref": ref}]})
    assert response.status_code == 422
    assert reason in response.text


def test_an_adapter_named_in_two_ways_is_refused(client: TestClient) -> None:
    response = client.post("/generate", json={"prompt": "x", "loras": [{"id": "with-trigger", "ref": "sha256:00000000"}]})
    assert response.status_code == 422
    assert "exactly one of id, path and ref" in response.text


@pytest.mark.parametrize(
    ("trigger", "parser", "prompt", "reason"),
    [
        ("c++", "compel", "x", "has marks in it"),
        ("give me a BREAK", "lpw", "x", "has no mark for the words BREAK and AND"),
        ("zbadge", "compel", '("a","b").blend(1,1)', "prompt with its trigger words: at character"),
    ],
)
def test_a_trigger_word_that_the_parser_cannot_express_is_refused(
    client: TestClient, trigger: str, parser: str, prompt: str, reason: str
) -> None:
    lora = {"id": "without-trigger", "trigger": trigger, "trigger_weight": 1.2 if parser == "lpw" else 1}
    response = client.post("/generate", json={"prompt": prompt, "loras": [lora], "prompt_parser": parser})
    assert response.status_code == 422
    assert reason in response.text


def test_a_trigger_word_without_a_weight_is_refused(client: TestClient) -> None:
    response = client.post("/generate", json={"prompt": "x", "loras": [{"id": "without-trigger", "trigger": "mxcat"}]})
    assert response.status_code == 422
    assert "give trigger_weight as well" in response.text


def test_a_trigger_word_shared_by_two_adapters_is_added_once(client: TestClient) -> None:
    loras = [{"id": name, "trigger": "mxcat", "trigger_weight": 1} for name in ("without-trigger", "with-trigger")]
    assert _generate(client, *loras)["prompt"] == "mxcat, a star"
