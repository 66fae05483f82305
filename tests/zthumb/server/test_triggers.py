"""Adapters by what is in their file, and their trigger words before the prompt, over HTTP."""

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
from tests.adapters import random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import settings, started
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with an adapter that tells its trigger word, and one that tells none."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mini-sdxl").symlink_to(MINIATURE)
    layers = dict(list(random_adapter(MINIATURE).layers.items())[:4])
    for name, told in (("told", {"modelspec.trigger_phrase": "z (badge)"}), ("silent", {})):
        (folder / "lora" / name).mkdir(parents=True)
        adapter = Adapter(dict(list(layers.items())[: 3 if told else 4]))
        save_kohya(adapter, folder / "lora" / name / f"{name}.safetensors", 1, {"ss_v2": "False", **told})
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with started(settings(models)) as client:
        yield client


def _asked(client: TestClient, *loras: dict[str, Any], prompt: str = "a star", **request: Any) -> dict[str, Any]:
    answer = client.post("/generate", json={"prompt": prompt, "steps": 1, "seed": 1, "loras": list(loras), **request})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    with Image.open(io.BytesIO(b64decode(told["images"][0]["b64_json"]))) as image:
        told["prompt"] = json.loads(image.info["zthumb"])["prompt"]
    return told


def test_a_trigger_word_is_put_before_the_prompt_only_if_asked_for(client: TestClient) -> None:
    assert _asked(client, {"id": "told"})["prompt"] == "a star"
    told = _asked(client, {"id": "told", "trigger_weight": 1})
    assert told["prompt"] == "z (badge), a star"
    assert told["meta"]["loras"][0]["trigger"] == "z (badge)"


def test_it_is_weighted_in_the_parsers_own_marks(client: TestClient) -> None:
    asked = {"id": "told", "trigger_weight": 1.3}
    assert _asked(client, asked, prompt_parser="lpw")["prompt"] == r"(z \(badge\):1.3), a star"
    given = {**asked, "trigger": "zbadge"}
    assert _asked(client, given, prompt_parser="compel")["prompt"] == "(zbadge)1.3000, a star"
    refused = client.post("/generate", json={"prompt": "x", "loras": [asked]})
    assert refused.status_code == 422
    assert "prompt_parser plain knows no weights" in refused.text


def test_one_may_be_given_and_must_be_where_the_file_tells_none(client: TestClient) -> None:
    assert _asked(client, {"id": "silent", "trigger": "mxcat", "trigger_weight": 1})["prompt"] == "mxcat, a star"
    refused = client.post("/generate", json={"prompt": "x", "loras": [{"id": "silent", "trigger_weight": 1}]})
    assert refused.status_code == 422
    assert "silent.safetensors tells no trigger word" in refused.text


def test_what_the_prompt_has_already_is_not_put_there_again(client: TestClient) -> None:
    told = _asked(client, {"id": "told", "trigger_weight": 1}, prompt="a Z (Badge) on blue")
    assert told["prompt"] == "a Z (Badge) on blue"
    assert "has the trigger word" in told["warnings"][0]


def test_an_adapter_by_what_is_in_its_file(client: TestClient, models: Path) -> None:
    digest = hash_file(models / "lora" / "told" / "told.safetensors")
    assert _asked(client, {"ref": f"sha256:{digest[:12]}"})["meta"]["loras"][0]["sha256"] == digest


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("sha256:00000000", "no adapter here has a hash that begins"),
        ("sha256:12", "at least 8 digits"),
        ("civitai:1@2", "must be fetched first, which requests may not make this server do"),
        ("someone/adapter", "must be fetched first"),
        ("http://example.org/a.safetensors", "only https addresses"),
        ("nobody", "is no adapter"),
        ("models/../../etc/passwd", "lies outside the models folder"),
        ("sha256:../../etc", "is not sha256:"),
    ],
)
def test_a_ref_to_nothing_is_refused(client: TestClient, ref: str, reason: str) -> None:
    answer = client.post("/generate", json={"prompt": "x", "loras": [{"ref": ref}]})
    assert answer.status_code == 422
    assert reason in answer.text


def test_an_adapter_is_named_in_one_way(client: TestClient) -> None:
    answer = client.post("/generate", json={"prompt": "x", "loras": [{"id": "told", "ref": "sha256:00000000"}]})
    assert answer.status_code == 422
    assert "one of its id, its path and a ref" in answer.text


@pytest.mark.parametrize(
    ("trigger", "parser", "prompt", "reason"),
    [
        ("c++", "compel", "x", "has marks in it"),
        ("give me a BREAK", "lpw", "x", "has no mark for the words BREAK and AND"),
        ("zbadge", "compel", '("a","b").blend(1,1)', "prompt with its trigger words: at character"),
    ],
)
def test_a_trigger_word_that_no_prompt_can_say_is_refused(
    client: TestClient, trigger: str, parser: str, prompt: str, reason: str
) -> None:
    asked = {"id": "silent", "trigger": trigger, "trigger_weight": 1.2 if parser == "lpw" else 1}
    answer = client.post("/generate", json={"prompt": prompt, "loras": [asked], "prompt_parser": parser})
    assert answer.status_code == 422
    assert reason in answer.text


def test_a_trigger_that_would_count_nothing_is_refused(client: TestClient) -> None:
    answer = client.post("/generate", json={"prompt": "x", "loras": [{"id": "silent", "trigger": "mxcat"}]})
    assert answer.status_code == 422
    assert "give trigger_weight as well" in answer.text


def test_two_adapters_of_one_trigger_word_say_it_once(client: TestClient) -> None:
    both = [{"id": name, "trigger": "mxcat", "trigger_weight": 1} for name in ("silent", "told")]
    assert _asked(client, *both)["prompt"] == "mxcat, a star"
