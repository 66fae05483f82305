"""What is committed of the client is what its sources make with the pinned Node, byte for byte; and it is small."""

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.client.pages import first_load_bytes
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CLIENT = ROOT / "zthumb" / "client"
FIRST_LOAD = 250_000
"""The most bytes, compressed, that the first page loads."""


@pytest.fixture(scope="module")
def tools() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "client.py"))


@pytest.fixture(scope="module")
def copy(tools: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources elsewhere, with the packages of the lock file."""
    folder = tmp_path_factory.mktemp("client") / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    if not tools["is_registry_reachable"]():
        pytest.skip("the registry of the client's packages cannot be reached")
    tools["install"](folder)
    return folder


def test_the_build_is_the_one_that_is_committed(tools: dict[str, Any], copy: Path) -> None:
    tools["check"](copy)
    tools["build"](copy)
    built, committed = (
        {path.relative_to(folder): path.read_bytes() for path in (folder / "dist").rglob("*") if path.is_file()}
        for folder in (copy, CLIENT)
    )
    assert built.keys() == committed.keys()
    assert [str(name) for name, data in built.items() if data != committed[name]] == []


def test_the_types_are_those_of_the_servers_own_description(tools: dict[str, Any], copy: Path) -> None:
    tools["types"](copy)
    assert (copy / "src/api/schema.d.ts").read_bytes() == (CLIENT / "src/api/schema.d.ts").read_bytes()


def test_the_first_page_is_small() -> None:
    assert 100_000 < first_load_bytes(CLIENT / "dist") < FIRST_LOAD
