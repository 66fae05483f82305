"""Lookups through Civitai's API, answered by a fake server."""

import json
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import BadInput, StageFailed
from tests.zthumb.sources.fake_civitai import FakeCivitai
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
def stocked(fake_civitai: FakeCivitai) -> None:
    _publish(fake_civitai, VERSION)
    fake_civitai.files["/api/v1/models/1377820"] = json.dumps({"modelVersions": [{"id": 1963644}, {"id": 1}]}).encode()


def _publish(fake_civitai: FakeCivitai, version: dict[str, Any]) -> None:
    files = [{**file, "downloadUrl": fake_civitai.url(f"/api/download/{file['id']}")} for file in version["files"]]
    fake_civitai.files["/api/v1/model-versions/1963644"] = json.dumps({**version, "files": files}).encode()


def _look_up(fake_civitai: FakeCivitai, text: str) -> civitai.CivitaiFile:
    air = parse(text)
    assert isinstance(air, Air)
    return civitai.look_up(air, fake_civitai.policy(), fake_civitai.url(""))


@pytest.mark.parametrize("text", ["urn:air:sdxl:lora:civitai:1377820@1963644", "civitai:1377820@1963644", "civitai:1377820"])
def test_the_primary_file_of_a_version_is_found_with_its_trigger_words(fake_civitai: FakeCivitai, text: str) -> None:
    match = _look_up(fake_civitai, text)
    assert match.name == "Badge-v1.safetensors"
    assert (match.file.sha256, match.file.size) == ("ab" * 32, 7000)
    assert match.triggers == ("zbadge", "a badge")
    assert match.base_model == "SDXL 1.0"


@pytest.mark.parametrize(
    ("text", "name"), [("civitai:1377820@1963644+3", "badge.gguf"), ("civitai:1377820@1963644.gguf", "badge.gguf")]
)
def test_one_of_several_files_is_selected_by_its_id_or_its_format(fake_civitai: FakeCivitai, text: str, name: str) -> None:
    assert _look_up(fake_civitai, text).name == name


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("type=Model&format=SafeTensor&size=pruned&fp=fp16", "pruned.safetensors"),
        ("type=Model&format=SafeTensor&size=full&fp=fp32", "full.safetensors"),
        ("type=VAE", "vae.safetensors"),
        ("type=Model&fileId=9", "vae.safetensors"),
    ],
)
def test_of_several_files_the_one_that_the_link_describes_is_selected(fake_civitai: FakeCivitai, query: str, name: str) -> None:
    files = [
        {"id": 7, "name": "full.safetensors", "type": "Model", "metadata": {"size": "full", "fp": "fp32"}, "primary": True},
        {"id": 8, "name": "pruned.safetensors", "type": "Model", "metadata": {"size": "pruned", "fp": "fp16"}},
        {"id": 9, "name": "vae.safetensors", "type": "VAE", "metadata": {"format": "SafeTensor"}},
    ]
    _publish(fake_civitai, {**VERSION, "files": files})

    link = f"https://civitai.com/api/download/models/1963644?{query}"

    assert _look_up(fake_civitai, link).name == name
    assert parse(str(parse(link))) == parse(link)
    with pytest.raises(BadInput, match="no file of size tiny; there are full, pruned"):
        _look_up(fake_civitai, "https://civitai.com/api/download/models/1963644?type=Model&size=tiny")


def test_a_link_to_a_format_that_is_never_opened_is_refused() -> None:
    with pytest.raises(BadInput, match="format=PickleTensor is of a kind that is never opened"):
        parse("https://civitai.com/api/download/models/1963644?type=Model&format=PickleTensor")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("civitai:5@1963644", "is of model 1377820, not of 5"),
        ("civitai:1377820@1963644+9", "has no file 9"),
        ("civitai:1377820@1963644.onnx", "no file in onnx"),
        ("civitai:1377820@1963644+1", "never opened"),
        ("civitai:1377820@7", "it does not exist"),
    ],
)
def test_a_reference_that_does_not_match_the_version_is_refused(fake_civitai: FakeCivitai, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        _look_up(fake_civitai, text)


@pytest.mark.parametrize("ecosystem", ["sdxl", "pony", "illustrious", "noobai", "sd1", "anything"])
@pytest.mark.parametrize("kind", ["lora", "locon", "dora", "lycoris"])
def test_any_ecosystem_and_adapter_type_is_accepted(fake_civitai: FakeCivitai, ecosystem: str, kind: str) -> None:
    assert _look_up(fake_civitai, f"urn:air:{ecosystem}:{kind}:civitai:1377820@1963644").name.endswith(".safetensors")


def test_a_type_that_civitai_contradicts_is_a_warning(fake_civitai: FakeCivitai, caplog: pytest.LogCaptureFixture) -> None:
    _look_up(fake_civitai, "urn:air:sdxl:checkpoint:civitai:1377820@1963644")

    assert "Civitai calls it a lora, not a checkpoint" in caplog.text


def test_a_download_link_names_only_a_version(fake_civitai: FakeCivitai) -> None:
    match = _look_up(fake_civitai, "https://civitai.com/api/download/models/1963644?type=Model")

    assert (match.model, match.version) == ("1377820", "1963644")


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, BadInput, "CIVITAI_API_KEY"),
        (410, BadInput, "its author has removed it"),
        (429, StageFailed, "refuses further requests"),
        (503, StageFailed, "fails"),
    ],
)
def test_each_error_status_has_its_own_advice(
    fake_civitai: FakeCivitai, status: int, kind: type[Exception], message: str
) -> None:
    fake_civitai.statuses = iter([status])
    with pytest.raises(kind, match=message):
        _look_up(fake_civitai, "civitai:1377820@1963644")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'"x"'])
def test_an_answer_that_cannot_be_read_is_an_error(fake_civitai: FakeCivitai, answer: bytes) -> None:
    fake_civitai.files["/api/v1/model-versions/1963644"] = answer
    with pytest.raises(StageFailed, match="cannot be read"):
        _look_up(fake_civitai, "civitai:1377820@1963644")


def test_the_api_key_is_sent_to_civitai_and_not_to_redirect_targets(
    fake_civitai: FakeCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(civitai.KEY, "very-secret")
    _publish(fake_civitai, {**VERSION, "files": [{**VERSION["files"][1], "hashes": {}}]})
    fake_civitai.files["/signed"] = WEIGHTS
    fake_civitai.redirect = lambda path: fake_civitai.url("/signed", "127.0.0.1") if path.startswith("/api/download/") else None
    match = _look_up(fake_civitai, "civitai:1377820@1963644")
    download(match.file, tmp_path / match.name, fake_civitai.policy(hosts=frozenset({"localhost", "127.0.0.1"})))
    assert (tmp_path / match.name).read_bytes() == WEIGHTS
    received = [("authorization" in request.headers, request.host.split(":")[0]) for request in fake_civitai.requests]
    assert received == [(True, "localhost"), (True, "localhost"), (False, "127.0.0.1")]
    assert "very-secret" not in repr(match) + caplog.text


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
def test_a_name_from_an_untrusted_source_is_never_a_path(name: str, safe: str) -> None:
    assert civitai.safe_name(name) == safe
