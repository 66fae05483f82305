"""The document agrees with the files it names, and the check would notice if it did not."""

import importlib.util
import re
import shutil
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from zthumb.server.settings import Settings, variables

PACKAGES = ("foundation", "training", "zthumb", "evaluation")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_source_of_truth", ROOT / "scripts" / "check_source_of_truth.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_agrees_with_its_file(script: ModuleType) -> None:
    assert script.faults(ROOT) == []


def _copy(tmp_path: Path, script: ModuleType) -> Path:
    for name in script.DOCUMENTS:
        document = (ROOT / name).read_text()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(document)
        for row in script.rows(document):
            target = tmp_path / row.evidence
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy(ROOT / row.evidence, target)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("| torch | `2.13.0`", "| torch | `2.12.0`", "does not say 'torch==2.12.0'"),
        ("`training/train_lora.py`", "`training/gone.py`", "training/gone.py is missing"),
        ("`debian:12.15-slim`", "TBD", "a placeholder"),
        ("`8000`", "`800`", "does not say '800'"),
    ],
)
def test_a_row_that_is_wrong_is_found(tmp_path: Path, script: ModuleType, old: str, new: str, complaint: str) -> None:
    copy = _copy(tmp_path, script)
    document = copy / "SOURCE_OF_TRUTH.md"
    document.write_text(document.read_text().replace(old, new, 1))
    assert any(complaint in fault for fault in script.faults(copy))


def test_a_pin_that_moves_without_its_row_is_found(tmp_path: Path, script: ModuleType) -> None:
    copy = _copy(tmp_path, script)
    pins = copy / "training" / "requirements.base.txt"
    pins.write_text(pins.read_text().replace("diffusers==", "diffusers==9"))
    assert any("diffusers" in fault for fault in script.faults(copy))


def test_every_package_that_the_code_imports_has_a_row(script: ModuleType) -> None:
    document = (ROOT / "SOURCE_OF_TRUTH.md").read_text(encoding="utf-8")
    named = {row.name.lower() for row in script.rows(document) if row.section == "Package versions"}
    sources = [path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    imported = {name for text in sources for name in re.findall(r"^ *(?:import|from) (\w+)", text, flags=re.MULTILINE)}
    providers = packages_distributions()

    for module in imported - set(PACKAGES):
        assert {provider.lower() for provider in providers.get(module, [])} <= named, module


def test_every_setting_of_the_server_has_a_row(script: ModuleType) -> None:
    document = (ROOT / "SOURCE_OF_TRUTH.md").read_text(encoding="utf-8")
    named = {row.value for row in script.rows(document) if row.section == "Environment variables"}

    for name in Settings.model_fields:
        assert set(variables(name)) <= named
