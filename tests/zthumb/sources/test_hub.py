"""Repositories fetched from a hub of the test's own, which speaks as the real one does."""

from pathlib import Path

import pytest

from foundation.errors import BadInput, StageFailed
from tests.zthumb.sources.own_hub import COMMIT, FILES, TestHub
from zthumb.sources.hub import fetch
from zthumb.sources.reference import Hub


def test_a_repository_comes_as_a_folder_without_what_is_never_opened(hub: TestHub, tmp_path: Path) -> None:
    folder = fetch(Hub("someone/model"), hub.url, tmp_path)
    assert folder.name == COMMIT
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "model_index.json",
        "unet/model.safetensors",
    }
    assert (folder / "unet/model.safetensors").read_bytes() == FILES["unet/model.safetensors"]


def test_one_file_comes_alone_and_is_not_fetched_twice(hub: TestHub, tmp_path: Path) -> None:
    asked = Hub("someone/model", COMMIT, "unet/model.safetensors")
    first = fetch(asked, hub.url, tmp_path)
    assert first.read_bytes() == FILES["unet/model.safetensors"]
    count = len(hub.asked)
    assert fetch(asked, hub.url, tmp_path) == first
    assert len(hub.asked) == count


def test_the_login_is_told_to_the_hub(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "secret")
    fetch(Hub("someone/model", None, "model_index.json"), hub.url, tmp_path)
    assert {token for _, _, token in hub.asked} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Hub("someone/else"), "no such repository, or it is private"),
        (Hub("someone/model", "v9"), "no revision 'v9'"),
        (Hub("someone/model", None, "gone.safetensors"), "no file 'gone.safetensors'"),
    ],
)
def test_what_is_not_there_is_said(hub: TestHub, tmp_path: Path, asked: Hub, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        fetch(asked, hub.url, tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "kind", "told"),
    [
        (403, "GatedRepo", BadInput, "licence must be accepted on https://huggingface.co/someone/model"),
        (401, "GatedRepo", BadInput, "then set HF_TOKEN"),
        (401, "", BadInput, "set HF_TOKEN"),
        (429, "", StageFailed, "enough questions"),
    ],
)
def test_each_refusal_has_its_own_advice(
    hub: TestHub, tmp_path: Path, status: int, error: str, kind: type[Exception], told: str
) -> None:
    hub.status, hub.error = status, error
    with pytest.raises(kind, match=told):
        fetch(Hub("someone/model"), hub.url, tmp_path)


def test_offline_only_what_is_there_is_found(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Hub("someone/model", None, "model_index.json")
    there = fetch(asked, hub.url, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch(asked, hub.url, tmp_path) == there
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        fetch(Hub("someone/model", None, "README.md"), hub.url, tmp_path)


def test_a_hub_that_does_not_answer_is_said(tmp_path: Path, hub: TestHub) -> None:
    with pytest.raises(StageFailed, match="does not answer"):
        fetch(Hub("someone/model"), "http://127.0.0.1:9", tmp_path)
