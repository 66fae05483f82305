"""Every kind of reference leads to a model on this disk."""

import hashlib
import json
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.fake_civitai import FakeCivitai
from tests.zthumb.sources.fake_hub import FILES, FakeHub
from zthumb.sources.resolve import Resolver

WEIGHTS = b"weights" * 100


@pytest.fixture
def resolver(fake_civitai: FakeCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    monkeypatch.chdir(tmp_path)
    return Resolver(tmp_path / "models", fake_civitai.policy(), civitai_host=fake_civitai.url(""))


def test_an_existing_path_is_returned_as_it_is(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert resolver.path("models/mine") == Path("models/mine")
    with pytest.raises(BadInput, match="does not exist"):
        resolver.path("models/other")


def test_a_catalogue_name_leads_to_its_path(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "models" / "mini-sdxl").mkdir(parents=True)
    assert resolver.path("mini-sdxl") == tmp_path / "models" / "mini-sdxl"
    with pytest.raises(BadInput, match=r"does not exist, and is not in the catalogue\. Did you mean 'mini-sdxl'\?"):
        resolver.path("maxi-sdxl")


def test_a_url_is_downloaded_once_into_the_models_folder(resolver: Resolver, fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.files["/files/A%20b.safetensors"] = WEIGHTS
    path = resolver.path(fake_civitai.url("/files/A%20b.safetensors"))
    assert path.is_relative_to(tmp_path / "models" / "downloads" / "localhost")
    assert path.name == "A-b.safetensors"
    assert path.read_bytes() == WEIGHTS
    resolver.path(fake_civitai.url("/files/A%20b.safetensors"))
    assert len(fake_civitai.requests) == 1


def test_two_files_with_the_same_name_are_kept_apart(resolver: Resolver, fake_civitai: FakeCivitai) -> None:
    fake_civitai.files |= {"/alice/lora.safetensors": WEIGHTS, "/bob/lora.safetensors": WEIGHTS[::-1]}
    first, second = (resolver.path(fake_civitai.url(f"/{user}/lora.safetensors")) for user in ("alice", "bob"))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("path", ["/a.pt", "/a.ckpt", "/", "/a.safetensors.exe"])
def test_files_that_are_never_opened_are_not_downloaded_either(resolver: Resolver, fake_civitai: FakeCivitai, path: str) -> None:
    with pytest.raises(BadInput, match="never opened"):
        resolver.path(fake_civitai.url(path))
    assert fake_civitai.requests == []


def test_a_civitai_air_is_looked_up_downloaded_and_verified(
    resolver: Resolver, fake_civitai: FakeCivitai, tmp_path: Path
) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest().upper()
    file = {
        "id": 2,
        "name": "badge.safetensors",
        "primary": True,
        "hashes": {"SHA256": digest},
        "downloadUrl": fake_civitai.url("/get/2"),
    }
    version = {"id": 7, "modelId": 5, "baseModel": "SDXL 1.0", "model": {"type": "LORA"}, "files": [file]}
    fake_civitai.files |= {"/api/v1/model-versions/7": json.dumps(version).encode(), "/get/2": WEIGHTS}
    path = resolver.path("urn:air:sdxl:lora:civitai:5@7")
    assert path == tmp_path / "models" / "civitai" / "5" / "7" / "badge.safetensors"
    assert path.read_bytes() == WEIGHTS
    # A file on this disk is used without a request, until it changes
    fake_civitai.files.clear()
    assert resolver.path("urn:air:sdxl:lora:civitai:5@7") == path
    assert resolver.here("urn:air:sdxl:lora:civitai:5@7") == path
    path.write_bytes(b"other")
    assert resolver.here("urn:air:sdxl:lora:civitai:5@7") is None


@pytest.mark.parametrize("air", ["civitai:5@../../private?x=1", "civitai:5@7a", "civitai:../me@7"])
def test_ids_that_are_not_numbers_are_not_sent_to_civitai(resolver: Resolver, fake_civitai: FakeCivitai, air: str) -> None:
    with pytest.raises(BadInput):
        resolver.path(air)
    assert fake_civitai.requests == []


@pytest.mark.parametrize("answer", [b'{"modelId": 5}', b'{"modelId": 5, "id": 7, "files": ["x"]}', b"[]"])
def test_an_answer_that_makes_no_sense_is_an_error(resolver: Resolver, fake_civitai: FakeCivitai, answer: bytes) -> None:
    fake_civitai.files["/api/v1/model-versions/7"] = answer
    with pytest.raises((BadInput, SourceFailed), match=r"cannot be read|has no file"):
        resolver.path("civitai:5@7")


def test_a_link_to_a_hub_file_is_downloaded_as_a_file_of_its_repository(hub: FakeHub, tmp_path: Path) -> None:
    resolver = Resolver(tmp_path / "models", hub_endpoint=hub.url, hub_cache=tmp_path / "cache")
    link = "https://huggingface.co/someone/model/resolve/main/unet/model.safetensors?download=true"
    assert resolver.here(link) is None
    path = resolver.path(link)
    assert path.read_bytes() == FILES["unet/model.safetensors"]
    assert resolver.here(link) == path


def test_a_source_without_downloads_is_an_error(resolver: Resolver) -> None:
    with pytest.raises(BadInput, match="downloads from this source are not supported"):
        resolver.path("orchestrator:5")
