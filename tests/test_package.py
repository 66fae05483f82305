"""``pip install .`` gives a program that works outside the repository, with every package that its code imports."""

import ast
import base64
import io
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEPENDENCIES = {
    "foundation": PROJECT["dependencies"],
    "zthumb": PROJECT["dependencies"],
    "training": PROJECT["dependencies"] + EXTRAS["train"],
    "evaluation": PROJECT["dependencies"] + EXTRAS["evaluate"],
}


def _imported(package: str) -> set[str]:
    modules: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - set(DEPENDENCIES)


@pytest.mark.parametrize("package", DEPENDENCIES)
def test_what_a_package_imports_is_declared(package: str) -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in DEPENDENCIES[package]}
    distributions = packages_distributions()

    missing = {module for module in _imported(package) if canonicalize_name(distributions[module][0]) not in declared}

    assert not missing


@pytest.mark.parametrize("line", sorted({*PROJECT["dependencies"], *EXTRAS["train"], *EXTRAS["evaluate"]}))
def test_a_range_starts_at_the_series_that_is_tested(line: str) -> None:
    requirement = Requirement(line)
    pinned = (ROOT / "training" / "requirements.base.txt").read_text(encoding="utf-8")
    pinned += (ROOT / "training" / "requirements.cpu.txt").read_text(encoding="utf-8")
    (version,) = re.findall(rf"^{re.escape(requirement.name)}==(\S+)$", pinned, re.MULTILINE)
    (specifier,) = requirement.specifier

    assert version in requirement.specifier
    assert version.startswith(specifier.version)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Given the wheel, installed beside the pinned packages: the folder of the environment's programs."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    source = folder / "source"
    for package in DEPENDENCIES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*build, str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    programs = environment / "bin"
    install = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "pinned.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return programs


@pytest.mark.slow
def test_the_installed_program_serves_a_base_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(installed / "zthumb"), "serve", "--model", str(ROOT / "models" / "mini-sdxl"), "--port", str(port)]
    address = f"http://127.0.0.1:{port}"

    server = subprocess.Popen(command, cwd=tmp_path, env={"PATH": str(installed), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"})
    try:
        _wait_until_ready(address, server)
        answer = requests.post(
            f"{address}/generate",
            json={"prompt": "a photo of a red star", "steps": 4, "seed": 1},
            timeout=240,
        )
    finally:
        server.terminate()
        server.wait(timeout=240)

    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]["b64_json"]))) as image:
        assert image.size == (128, 128)


@pytest.mark.slow
def test_the_installed_package_has_its_recipes_prompts_and_templates(installed: Path, tmp_path: Path) -> None:
    code = """
from training import recipe
from evaluation.report.rendering import render_template
from pathlib import Path
import evaluation
folder = Path(evaluation.__path__[0])
print(recipe.load("sdxl").base, len(list(folder.glob("prompts/*.yaml"))), len(list(folder.glob("templates/*.j2"))), folder)
"""

    output = subprocess.run([str(installed / "python"), "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)

    base, prompts, templates, folder = output.stdout.split()
    assert base
    assert int(prompts) > 1
    assert int(templates) > 1
    assert Path(folder).is_relative_to(installed.parent)


def _wait_until_ready(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(3000):
        try:
            if requests.get(f"{address}/health/ready", timeout=1).ok:
                return
        except requests.RequestException:
            assert server.poll() is None, "the server ended"
        time.sleep(0.1)
    pytest.fail("the server is not ready after a minute")
