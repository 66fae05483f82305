"""Whatever names a model leads to one on this disk."""

import hashlib
import json
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.own_hub import FILES, TestHub
from tests.zthumb.sources.shop import Shop
from zthumb.sources.resolve import Resolver

WEIGHTS = b"weights" * 100


@pytest.fixture
def resolver(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    monkeypatch.chdir(tmp_path)
    return Resolver(tmp_path / "models", shop.policy(), civitai_host=shop.url(""))


def test_a_path_is_what_is_there(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert resolver.path("models/mine") == Path("models/mine")
    with pytest.raises(BadInput, match="nothing is there"):
        resolver.path("models/other")


def test_a_name_of_the_catalogue_leads_where_it_says(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "models" / "mini-sdxl").mkdir(parents=True)
    assert resolver.path("mini-sdxl") == tmp_path / "models" / "mini-sdxl"
    with pytest.raises(BadInput, match="nothing is there, and it is not in the catalogue, which has clip-vit-large-patch14, "):
        resolver.path("maxi-sdxl")


def test_an_address_is_fetched_into_the_models_folder_once(resolver: Resolver, shop: Shop, tmp_path: Path) -> None:
    shop.stock["/files/A%20b.safetensors"] = WEIGHTS
    path = resolver.path(shop.url("/files/A%20b.safetensors"))
    assert path.is_relative_to(tmp_path / "models" / "downloads" / "localhost")
    assert path.name == "A-b.safetensors"
    assert path.read_bytes() == WEIGHTS
    resolver.path(shop.url("/files/A%20b.safetensors"))
    assert len(shop.asked) == 1


def test_two_files_of_one_name_are_two(resolver: Resolver, shop: Shop) -> None:
    shop.stock |= {"/alice/lora.safetensors": WEIGHTS, "/bob/lora.safetensors": WEIGHTS[::-1]}
    first, second = (resolver.path(shop.url(f"/{who}/lora.safetensors")) for who in ("alice", "bob"))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("path", ["/a.pt", "/a.ckpt", "/", "/a.safetensors.exe"])
def test_what_is_never_opened_is_not_fetched_either(resolver: Resolver, shop: Shop, path: str) -> None:
    with pytest.raises(BadInput, match="never opened"):
        resolver.path(shop.url(path))
    assert shop.asked == []


def test_an_air_of_civitai_is_looked_up_fetched_and_verified(resolver: Resolver, shop: Shop, tmp_path: Path) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest().upper()
    file = {
        "id": 2,
        "name": "badge.safetensors",
        "primary": True,
        "hashes": {"SHA256": digest},
        "downloadUrl": shop.url("/get/2"),
    }
    version = {"id": 7, "modelId": 5, "baseModel": "SDXL 1.0", "model": {"type": "LORA"}, "files": [file]}
    shop.stock |= {"/api/v1/model-versions/7": json.dumps(version).encode(), "/get/2": WEIGHTS}
    path = resolver.path("urn:air:sdxl:lora:civitai:5@7")
    assert path == tmp_path / "models" / "civitai" / "5" / "7" / "badge.safetensors"
    assert path.read_bytes() == WEIGHTS
    # What is here needs nobody's answer, until the file is another
    shop.stock.clear()
    assert resolver.path("urn:air:sdxl:lora:civitai:5@7") == path
    assert resolver.here("urn:air:sdxl:lora:civitai:5@7") == path
    path.write_bytes(b"other")
    assert resolver.here("urn:air:sdxl:lora:civitai:5@7") is None


@pytest.mark.parametrize("air", ["civitai:5@../../private?x=1", "civitai:5@7a", "civitai:../me@7"])
def test_what_is_no_number_is_not_asked_of_civitai(resolver: Resolver, shop: Shop, air: str) -> None:
    with pytest.raises(BadInput):
        resolver.path(air)
    assert shop.asked == []


@pytest.mark.parametrize("answer", [b'{"modelId": 5}', b'{"modelId": 5, "id": 7, "files": ["x"]}', b"[]"])
def test_an_answer_that_makes_no_sense_is_said(resolver: Resolver, shop: Shop, answer: bytes) -> None:
    shop.stock["/api/v1/model-versions/7"] = answer
    with pytest.raises((BadInput, SourceFailed), match=r"cannot be read|has no file"):
        resolver.path("civitai:5@7")


def test_a_file_of_the_hub_by_its_address_is_that_of_its_repository(hub: TestHub, tmp_path: Path) -> None:
    resolver = Resolver(tmp_path / "models", hub_endpoint=hub.url, hub_cache=tmp_path / "cache")
    address = "https://huggingface.co/someone/model/resolve/main/unet/model.safetensors?download=true"
    assert resolver.here(address) is None
    path = resolver.path(address)
    assert path.read_bytes() == FILES["unet/model.safetensors"]
    assert resolver.here(address) == path


def test_a_source_that_nothing_is_fetched_from_is_said(resolver: Resolver) -> None:
    with pytest.raises(BadInput, match="nothing is fetched from there"):
        resolver.path("orchestrator:5")
