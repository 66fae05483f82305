"""Models of the catalogue arrive complete and verified in the models folder, or not at all."""

import hashlib
import multiprocessing
import shutil
from pathlib import Path

import pytest

from foundation.errors import BadInput, SourceFailed
from tests.zthumb.sources.fake_hub import FILES, FakeHub
from zthumb.sources import catalogue
from zthumb.sources.catalogue import CatalogueEntry, KnownFile
from zthumb.sources.resolve import Resolver

NAME, FILE = "one", "unet/model.safetensors"
SHA256 = hashlib.sha256(FILES[FILE]).hexdigest()


def _entry(reference: str, files: dict[str, str], size: int | None = None) -> dict[str, CatalogueEntry]:
    known = {name: KnownFile(sha256=digest, size=size) for name, digest in files.items()}
    return {NAME: CatalogueEntry(purpose="a test", reference=reference, licence="MIT", folder=Path("vae"), files=known)}


@pytest.fixture
def resolver(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry(f"someone/model:{FILE}", {"model.safetensors": SHA256}))
    return Resolver(tmp_path / "models", hub_endpoint=hub.url, hub_cache=tmp_path / "cache")


def _files_in(models: Path) -> set[str]:
    return {path.name for path in models.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_is_downloaded_once_to_its_path(resolver: Resolver, hub: FakeHub) -> None:
    assert resolver.here(NAME) is None
    path = resolver.path(NAME)
    assert path == resolver.models / "vae" / "model.safetensors"
    assert path.read_bytes() == FILES[FILE]
    assert _files_in(resolver.models) == {"model.safetensors"}
    requests = len(hub.requests)
    assert resolver.path(NAME) == path
    assert len(hub.requests) == requests
    assert resolver.here(NAME) == path


def test_a_repository_is_downloaded_completely_to_its_path(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry("someone/model", {FILE: SHA256}))
    assert resolver.path(NAME) == resolver.models / "vae" / "model"
    assert _files_in(resolver.models) == {"model_index.json", "model.safetensors"}


def test_a_file_with_another_hash_than_the_known_one_leaves_nothing(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda: _entry(f"someone/model:{FILE}", {"model.safetensors": "0" * 64}))
    with pytest.raises(SourceFailed, match=rf"SHA-256 {SHA256}, expected 0+\. Nothing was kept"):
        resolver.path(NAME)
    assert _files_in(resolver.models) == set()


def test_without_disk_space_for_all_files_no_download_is_started(
    resolver: Resolver, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(BadInput, match="3500 bytes are missing and 1000 are free"):
        resolver.path(NAME)
    assert not any(method == "GET" and "/resolve/" in path for method, path, _ in hub.requests)


def test_a_model_in_another_models_folder_is_not_downloaded(resolver: Resolver, hub: FakeHub, tmp_path: Path) -> None:
    existing = tmp_path / "read" / "vae" / "model.safetensors"
    existing.parent.mkdir(parents=True)
    existing.write_bytes(FILES[FILE])
    assert Resolver(tmp_path / "written", hub_endpoint=hub.url, beside=(tmp_path / "read",)).path(NAME) == existing
    assert hub.requests == []


def _fetch(resolver: Resolver) -> None:
    resolver.path(NAME)


def test_two_processes_download_once(resolver: Resolver, hub: FakeHub) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_fetch, args=(resolver,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (resolver.models / "vae" / "model.safetensors").read_bytes() == FILES[FILE]
    assert sum(method == "GET" and "/resolve/" in path for method, path, _ in hub.requests) == 1
