from pathlib import Path

import pytest

from foundation.hashing import hash_files
from tests.conftest import ROOT
from zthumb.sources.catalogue import entries, licence_of, published_as
from zthumb.sources.reference import Hub, Local, Named, parse


def test_every_entry_has_a_purpose_and_a_valid_reference() -> None:
    for name, entry in entries().items():
        assert isinstance(parse(name, lambda _: False), Named)
        assert isinstance(parse(entry.reference, lambda _: False), Hub | Local)
        assert entry.purpose


@pytest.mark.parametrize("name", ["mini-sdxl", "mini-sdxl-turbo", "mini-clip"])
def test_the_committed_weights_are_those_of_the_catalogue_and_of_their_card(name: str) -> None:
    folder = ROOT / "models" / name
    hashes = hash_files(folder, "*.safetensors")
    entry = entries()[name]
    assert hashes == {file: known.sha256 for file, known in entry.files.items()}
    assert entry.size == sum(path.stat().st_size for path in folder.rglob("*.safetensors") if not path.parent.is_symlink())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(digest in card for digest in hashes.values())


def test_the_embedded_base_is_small(miniature: Path) -> None:
    assert sum(path.stat().st_size for path in miniature.rglob("*") if path.is_file()) <= 30_000_000


def test_a_base_is_recognized_by_the_name_of_its_folder_or_file() -> None:
    assert published_as("sdxl-base-1.0") == published_as("models/sd_xl_base_1.0.safetensors")
    assert published_as("models/stable-diffusion-xl-base-1.0") == "stabilityai/stable-diffusion-xl-base-1.0"
    assert licence_of("models/stable-diffusion-xl-base-1.0") == "CreativeML Open RAIL++-M"
    assert (published_as("models/mine"), licence_of("models/mine")) == ("models/mine", "unknown")
