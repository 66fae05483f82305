"""Whatever names a model leads to one on this disk."""

import hashlib
import json
from pathlib import Path

import pytest

from foundation.errors import BadInput
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
    assert path == tmp_path / "models" / "downloads" / "localhost" / "A-b.safetensors"
    assert path.read_bytes() == WEIGHTS
    resolver.path(shop.url("/files/A%20b.safetensors"))
    assert len(shop.asked) == 1


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


def test_a_source_that_nothing_is_fetched_from_is_said(resolver: Resolver) -> None:
    with pytest.raises(BadInput, match="nothing is fetched from there"):
        resolver.path("orchestrator:5")
