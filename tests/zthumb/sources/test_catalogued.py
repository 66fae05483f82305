"""Models of the catalogue come whole and right into the models folder, or not at all."""

import hashlib
import multiprocessing
import shutil
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.own_hub import FILES, TestHub
from zthumb.sources import catalogue
from zthumb.sources.catalogue import Entry, Known
from zthumb.sources.resolve import Resolver

NAME, FILE = "one", "unet/model.safetensors"
SHA256 = hashlib.sha256(FILES[FILE]).hexdigest()


def _entry(reference: str, files: dict[str, str], size: int | None = None) -> dict[str, Entry]:
    known = {name: Known(sha256=digest, size=size) for name, digest in files.items()}
    return {NAME: Entry(purpose="a test", reference=reference, licence="MIT", folder=Path("vae"), files=known)}


@pytest.fixture
def resolver(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry(f"someone/model:{FILE}", {"model.safetensors": SHA256}))
    return Resolver(tmp_path / "models", hub_endpoint=hub.url, hub_cache=tmp_path / "cache")


def _left(models: Path) -> set[str]:
    return {path.name for path in models.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_comes_to_its_place_once(resolver: Resolver, hub: TestHub) -> None:
    assert resolver.here(NAME) is None
    path = resolver.path(NAME)
    assert path == resolver.models / "vae" / "model.safetensors"
    assert path.read_bytes() == FILES[FILE]
    assert _left(resolver.models) == {"model.safetensors"}
    asked = len(hub.asked)
    assert resolver.path(NAME) == path
    assert len(hub.asked) == asked
    assert resolver.here(NAME) == path


def test_a_repository_comes_to_its_place_whole(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry("someone/model", {FILE: SHA256}))
    assert resolver.path(NAME) == resolver.models / "vae" / "model"
    assert _left(resolver.models) == {"model_index.json", "model.safetensors"}


def test_another_file_than_was_known_leaves_nothing(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry(f"someone/model:{FILE}", {"model.safetensors": "0" * 64}))
    with pytest.raises(SourceFailed, match=rf"SHA-256 {SHA256}, 0+ was wanted\. Nothing was kept"):
        resolver.path(NAME)
    assert _left(resolver.models) == set()


def test_without_room_for_all_of_it_nothing_is_begun(resolver: Resolver, hub: TestHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(BadInput, match="3500 bytes are still to come and 1000 are free"):
        resolver.path(NAME)
    assert not any(method == "GET" and "/resolve/" in path for method, path, _ in hub.asked)


def test_what_lies_in_another_models_folder_is_not_fetched(resolver: Resolver, hub: TestHub, tmp_path: Path) -> None:
    there = tmp_path / "read" / "vae" / "model.safetensors"
    there.parent.mkdir(parents=True)
    there.write_bytes(FILES[FILE])
    assert Resolver(tmp_path / "written", hub_endpoint=hub.url, beside=(tmp_path / "read",)).path(NAME) == there
    assert hub.asked == []


def _fetch(resolver: Resolver) -> None:
    resolver.path(NAME)


def test_two_processes_fetch_once(resolver: Resolver, hub: TestHub) -> None:
    both = [multiprocessing.get_context("fork").Process(target=_fetch, args=(resolver,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (resolver.models / "vae" / "model.safetensors").read_bytes() == FILES[FILE]
    assert sum(method == "GET" and "/resolve/" in path for method, path, _ in hub.asked) == 1
