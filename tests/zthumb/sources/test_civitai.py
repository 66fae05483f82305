"""Civitai's API, as a server of the test's own answers it."""

import json
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import BadInput, StageFailed
from tests.zthumb.sources.shop import Shop
from zthumb.sources import civitai
from zthumb.sources.download import download
from zthumb.sources.reference import Air, parse

WEIGHTS = b"weights" * 1000
VERSION: dict[str, Any] = {
    "id": 1963644,
    "modelId": 1377820,
    "baseModel": "SDXL 1.0",
    "trainedWords": ["zbadge", "a badge"],
    "model": {"name": "Badges", "type": "LORA"},
    "files": [
        {"id": 1, "name": "badge.pt", "sizeKB": 1, "primary": False, "hashes": {}},
        {"id": 2, "name": "../../Badge v1.safetensors", "sizeKB": 6.8359375, "primary": True, "hashes": {"SHA256": "AB" * 32}},
        {"id": 3, "name": "badge.gguf", "sizeKB": 1, "primary": False, "hashes": {}},
    ],
}


@pytest.fixture(autouse=True)
def stocked(shop: Shop) -> None:
    _say(shop, VERSION)
    shop.stock["/api/v1/models/1377820"] = json.dumps({"modelVersions": [{"id": 1963644}, {"id": 1}]}).encode()


def _say(shop: Shop, version: dict[str, Any]) -> None:
    files = [{**each, "downloadUrl": shop.url(f"/api/download/{each['id']}")} for each in version["files"]]
    shop.stock["/api/v1/model-versions/1963644"] = json.dumps({**version, "files": files}).encode()


def _find(shop: Shop, text: str) -> civitai.Found:
    air = parse(text)
    assert isinstance(air, Air)
    return civitai.find(air, shop.policy(), shop.url(""))


@pytest.mark.parametrize("text", ["urn:air:sdxl:lora:civitai:1377820@1963644", "civitai:1377820@1963644", "civitai:1377820"])
def test_the_primary_file_of_a_version_is_found_with_its_words(shop: Shop, text: str) -> None:
    found = _find(shop, text)
    assert found.name == "Badge-v1.safetensors"
    assert (found.file.sha256, found.file.size) == ("ab" * 32, 7000)
    assert found.triggers == ("zbadge", "a badge")
    assert found.base_model == "SDXL 1.0"


@pytest.mark.parametrize(
    ("text", "name"), [("civitai:1377820@1963644+3", "badge.gguf"), ("civitai:1377820@1963644.gguf", "badge.gguf")]
)
def test_one_of_several_files_is_named_by_its_id_or_its_format(shop: Shop, text: str, name: str) -> None:
    assert _find(shop, text).name == name


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("type=Model&format=SafeTensor&size=pruned&fp=fp16", "pruned.safetensors"),
        ("type=Model&format=SafeTensor&size=full&fp=fp32", "full.safetensors"),
        ("type=VAE", "vae.safetensors"),
        ("type=Model&fileId=9", "vae.safetensors"),
    ],
)
def test_of_several_files_that_of_the_address_is_taken(shop: Shop, asked: str, name: str) -> None:
    files = [
        {"id": 7, "name": "full.safetensors", "type": "Model", "metadata": {"size": "full", "fp": "fp32"}, "primary": True},
        {"id": 8, "name": "pruned.safetensors", "type": "Model", "metadata": {"size": "pruned", "fp": "fp16"}},
        {"id": 9, "name": "vae.safetensors", "type": "VAE", "metadata": {"format": "SafeTensor"}},
    ]
    _say(shop, {**VERSION, "files": files})

    address = f"https://civitai.com/api/download/models/1963644?{asked}"

    assert _find(shop, address).name == name
    assert parse(str(parse(address))) == parse(address)
    with pytest.raises(BadInput, match="no file of size tiny; there are full, pruned"):
        _find(shop, "https://civitai.com/api/download/models/1963644?type=Model&size=tiny")


def test_an_address_of_a_file_that_is_never_opened_is_refused() -> None:
    with pytest.raises(BadInput, match="format=PickleTensor is of a kind that is never opened"):
        parse("https://civitai.com/api/download/models/1963644?type=Model&format=PickleTensor")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("civitai:5@1963644", "is of model 1377820, not of 5"),
        ("civitai:1377820@1963644+9", "has no file 9"),
        ("civitai:1377820@1963644.onnx", "no file in onnx"),
        ("civitai:1377820@1963644+1", "never opened"),
        ("civitai:1377820@7", "nothing is there"),
    ],
)
def test_what_is_not_what_it_is_said_to_be_is_refused(shop: Shop, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        _find(shop, text)


@pytest.mark.parametrize("ecosystem", ["sdxl", "pony", "illustrious", "noobai", "sd1", "anything"])
@pytest.mark.parametrize("kind", ["lora", "locon", "dora", "lycoris"])
def test_what_it_is_made_for_its_shapes_decide_and_no_table(shop: Shop, ecosystem: str, kind: str) -> None:
    assert _find(shop, f"urn:air:{ecosystem}:{kind}:civitai:1377820@1963644").name.endswith(".safetensors")


def test_a_type_that_civitai_does_not_call_it_is_told(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    _find(shop, "urn:air:sdxl:checkpoint:civitai:1377820@1963644")

    assert "Civitai calls it a lora, not a checkpoint" in caplog.text


def test_a_download_address_names_a_version_alone(shop: Shop) -> None:
    found = _find(shop, "https://civitai.com/api/download/models/1963644?type=Model")

    assert (found.model, found.version) == ("1377820", "1963644")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, BadInput, "CIVITAI_API_KEY"),
        (410, BadInput, "taken back"),
        (429, StageFailed, "enough questions"),
        (503, StageFailed, "fails"),
    ],
)
def test_each_refusal_has_its_own_advice(shop: Shop, status: int, kind: type[Exception], told: str) -> None:
    shop.status = iter([status])
    with pytest.raises(kind, match=told):
        _find(shop, "civitai:1377820@1963644")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'"x"'])
def test_an_answer_that_cannot_be_read_is_said(shop: Shop, answer: bytes) -> None:
    shop.stock["/api/v1/model-versions/1963644"] = answer
    with pytest.raises(StageFailed, match="cannot be read"):
        _find(shop, "civitai:1377820@1963644")


def test_the_key_is_told_to_civitai_and_not_to_where_it_leads(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(civitai.KEY, "very-secret")
    _say(shop, {**VERSION, "files": [{**VERSION["files"][1], "hashes": {}}]})
    shop.stock["/signed"] = WEIGHTS
    shop.redirect = lambda path: shop.url("/signed", "127.0.0.1") if path.startswith("/api/download/") else None
    found = _find(shop, "civitai:1377820@1963644")
    download(found.file, tmp_path / found.name, shop.policy(hosts=frozenset({"localhost", "127.0.0.1"})))
    assert (tmp_path / found.name).read_bytes() == WEIGHTS
    told = [("authorization" in each.headers, each.host.split(":")[0]) for each in shop.asked]
    assert told == [(True, "localhost"), (True, "localhost"), (False, "127.0.0.1")]
    assert "very-secret" not in repr(found) + caplog.text


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\models\\a b.safetensors", "a-b.safetensors"),
        (".hidden", "hidden"),
        ("модель.safetensors", "safetensors"),
        ("", "model"),
        ("..", "model"),
        ("a\0b.gguf", "a-b.gguf"),
    ],
)
def test_a_name_from_elsewhere_is_never_a_path(name: str, safe: str) -> None:
    assert civitai.safe_name(name) == safe
