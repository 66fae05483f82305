"""Repositories downloaded from a fake hub with the API of the real one."""

from pathlib import Path

import pytest

from foundation.errors import BadInput, StageFailed
from tests.zthumb.sources.fake_hub import COMMIT, FILES, FakeHub
from zthumb.sources.hub import fetch
from zthumb.sources.reference import Hub


def test_a_repository_is_downloaded_without_files_that_are_never_opened(hub: FakeHub, tmp_path: Path) -> None:
    folder = fetch(Hub("someone/model"), hub.url, tmp_path)
    assert folder.name == COMMIT
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "model_index.json",
        "unet/model.safetensors",
    }
    assert (folder / "unet/model.safetensors").read_bytes() == FILES["unet/model.safetensors"]


def test_a_single_file_is_downloaded_alone_and_only_once(hub: FakeHub, tmp_path: Path) -> None:
    reference = Hub("someone/model", COMMIT, "unet/model.safetensors")
    first = fetch(reference, hub.url, tmp_path)
    assert first.read_bytes() == FILES["unet/model.safetensors"]
    requests = len(hub.requests)
    assert fetch(reference, hub.url, tmp_path) == first
    assert len(hub.requests) == requests


def test_the_token_is_sent_to_the_hub(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "secret")
    fetch(Hub("someone/model", None, "model_index.json"), hub.url, tmp_path)
    assert {token for _, _, token in hub.requests} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Hub("someone/else"), "no such repository, or it is private"),
        (Hub("someone/model", "v9"), "no revision 'v9'"),
        (Hub("someone/model", None, "gone.safetensors"), "no file 'gone.safetensors'"),
    ],
)
def test_the_error_names_what_does_not_exist(hub: FakeHub, tmp_path: Path, reference: Hub, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fetch(reference, hub.url, tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "kind", "message"),
    [
        (403, "GatedRepo", BadInput, "licence must be accepted on https://huggingface.co/someone/model"),
        (401, "GatedRepo", BadInput, "then set HF_TOKEN"),
        (401, "", BadInput, "set HF_TOKEN"),
        (429, "", StageFailed, "refuses further requests"),
    ],
)
def test_each_error_status_has_its_own_advice(
    hub: FakeHub, tmp_path: Path, status: int, error: str, kind: type[Exception], message: str
) -> None:
    hub.status, hub.error = status, error
    with pytest.raises(kind, match=message):
        fetch(Hub("someone/model"), hub.url, tmp_path)


def test_offline_only_cached_files_are_found(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Hub("someone/model", None, "model_index.json")
    cached = fetch(reference, hub.url, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch(reference, hub.url, tmp_path) == cached
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        fetch(Hub("someone/model", None, "README.md"), hub.url, tmp_path)


def test_a_hub_that_does_not_answer_is_an_error(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(StageFailed, match="does not answer"):
        fetch(Hub("someone/model"), "http://127.0.0.1:9", tmp_path)
