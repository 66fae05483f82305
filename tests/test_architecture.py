"""The arrows between packages point one way, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = {"foundation", "training", "zthumb", "evaluation", "miniature", "benchmarks"}
ALLOWED = {
    "foundation": {"foundation"},
    "zthumb": {"zthumb", "foundation"},
    "evaluation": {"evaluation", "foundation"},
    "training": {"training", "foundation", "zthumb.families", "zthumb.adapters", "zthumb.sources", "zthumb.naming"},
    "miniature": {"miniature", "training", "foundation", "zthumb.families", "zthumb.adapters", "zthumb.sources", "zthumb.naming"},
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES and name != "zthumb"}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for name in _imports(path):
            assert any(name == allowed or name.startswith(allowed + ".") for allowed in ALLOWED[package]), f"{path}: {name}"


TRAINING = {
    "data": {"data"},
    "encoding": {"encoding", "data"},
    "model": {"model"},
    "validation": {"validation", "model", "encoding"},
    "memory": {"memory", "model"},
    "steps": {"steps", "validation", "model", "encoding", "data"},
}


@pytest.mark.parametrize("part", sorted(TRAINING))
def test_inside_training_the_arrows_follow_the_way_of_the_data(part: str) -> None:
    for path in (ROOT / "training" / part).rglob("*.py"):
        for name in _imports(path):
            if (parts := name.split("."))[0] == "training" and parts[1] != "recipe":
                assert parts[1] in TRAINING[part], f"{path}: {name}"


@pytest.mark.parametrize("package", ["families", "adapters", "sources"])
def test_families_adapters_and_sources_know_no_server(package: str) -> None:
    for path in (ROOT / "zthumb" / package).rglob("*.py"):
        assert not any(name.startswith(("zthumb.server", "zthumb.backends")) for name in _imports(path)), path


@pytest.mark.parametrize(
    "module",
    [
        "zthumb.cli",
        "training.caption_images",
        "training.prepare_dataset",
        "training.train_lora",
        "training.export_lora",
        "evaluation",
        "miniature",
    ],
)
def test_help_explains_itself_without_loading_anything_heavy(module: str) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "loaded = {'torch', 'diffusers', 'transformers', 'fastapi', 'peft'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert len(done.stdout) > 200


def test_the_folder_called_datasets_is_not_taken_for_the_package_of_that_name() -> None:
    # transformers takes any folder of that name for the package, but asks only in parts that are not used here.
    code = (
        "from accelerate.utils import is_datasets_available\n"
        "assert not is_datasets_available()\n"
        "import peft, training.steps.train_step, zthumb.backends.full\n"
        "from diffusers import StableDiffusionXLPipeline\n"
        "from transformers import CLIPModel, CLIPTextModelWithProjection"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
