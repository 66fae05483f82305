"""The images' files agree with the one list of pins and with each other."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker import check
from tests.conftest import ROOT

BESIDE = Path(sys.executable).parent
DOCKERFILES = ("docker/server.Dockerfile", "training/Dockerfile.cpu", "training/Dockerfile.cuda")
LOCKS = sorted((ROOT / "docker" / "locks").glob("*.txt"))
_PIN = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _pins(device: str) -> dict[str, str]:
    """The pins of this device's list, that of the base included."""
    texts = [(ROOT / "training" / f"requirements.{part}.txt").read_text(encoding="utf-8") for part in ("base", device)]
    return {_name(name): version for text in texts for name, version in _PIN.findall(text)}


def _locked(path: Path) -> dict[str, str]:
    return {_name(name): version for name, version in _PIN.findall(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_training_image_has_every_pin_and_nothing_else(device: str) -> None:
    locked = _locked(ROOT / "docker" / "locks" / f"training-{device}.txt")
    # A build of torch for CPUs says so in its version.
    assert {name: version.removesuffix("+cpu") for name, version in locked.items()} == _pins(device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_server_image_has_no_other_versions(device: str) -> None:
    pins = _pins(device)
    for name, version in _locked(ROOT / "docker" / "locks" / f"server-{device}.txt").items():
        assert version.removesuffix("+cpu") == pins[name], name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_has_hashes(path: Path) -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = [
        (node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) and node.module for alias in node.names
    ]
    return plain | {module for module, _ in parts} | {f"{module}.{name}" for module, name in parts}


def _served() -> list[Path]:
    """The server's files, with those of ``foundation`` that they import, and that those import."""
    found, left = list[Path](), list((ROOT / "zthumb").rglob("*.py"))
    while left:
        found.append(left.pop())
        own = {ROOT / f"{name.replace('.', '/')}.py" for name in _imported(found[-1]) if name.startswith("foundation.")}
        left += [path for path in own - {*found, *left} if path.is_file()]
    return found


def test_the_server_image_has_all_that_the_server_imports() -> None:
    from importlib.metadata import packages_distributions

    names = {name.split(".")[0] for path in _served() for name in _imported(path)} - {"zthumb", "foundation"}
    providers, locked = packages_distributions(), _locked(ROOT / "docker" / "locks" / "server-cpu.txt")
    missing = {provider for name in names for provider in providers.get(name, []) if _name(provider) not in locked}
    assert missing == set()


def test_what_the_server_image_is_asked_to_have_is_imported() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in _served())
    # Asked for by others that the server does import: of several that would do, the one that is pinned.
    indirect = {"accelerate", "python-multipart", "pyyaml", "tokenizers"}
    modules = {"pillow": "PIL", "pydantic-settings": "pydantic_settings"}
    for line in (ROOT / "docker" / "server.in").read_text(encoding="utf-8").splitlines():
        name = _name(line)
        if line and not line.startswith("#") and name not in indirect:
            assert re.search(rf"(import|from) {modules.get(name, name.replace('-', '_'))}\b", sources, re.IGNORECASE), line


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_pinned_and_small_and_without_rights(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    stages = [line.split()[1] for line in text.splitlines() if line.startswith("FROM ")]
    final = text.rpartition("\nFROM ")[2]
    assert re.fullmatch(r"debian:\d+\.\d+-slim", stages[0])
    assert set(stages[1:]) == {"system"}
    assert "--require-hashes" in text
    assert "USER 1000" in final
    assert not re.search(r"apt-get|pip |build-essential|gcc", final)
    for packages in re.findall(r"--no-install-recommends\s*\\?\s*(.+?);", text, re.DOTALL):
        assert all("=" in package for package in packages.replace("\\", " ").split())


def test_all_images_are_of_the_same_debian() -> None:
    heads = {
        (ROOT / name).read_text(encoding="utf-8").partition("FROM ")[2].partition("apt-get install")[0] for name in DOCKERFILES
    }
    assert len(heads) == 1


def test_the_files_pass_the_linter() -> None:
    done = subprocess.run([BESIDE / "hadolint", *DOCKERFILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_server_only_reads_and_is_reached_from_this_machine_alone() -> None:
    composed: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in composed["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert "../models:/app/models:ro" in service["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert set(service["environment"]) <= _variables(), name
    assert "profiles" not in composed["services"]["server"]
    assert composed["services"]["gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", ["server", "gpu"])
def test_what_compose_sets_where_nobody_says_otherwise_is_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from zthumb.server.settings import Settings

    composed: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for variable, text in composed["services"][name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*)\}", r"\1", text))
    settings = Settings(host="0.0.0.0")
    assert settings.model == {"server": "models/mini-sdxl", "gpu": "sdxl-base-1.0"}[name]
    assert settings.own_names == ("localhost", "127.0.0.1")
    assert settings.hf_token is None
    assert settings.may_fetch is False


def test_both_servers_keep_their_jobs_apart() -> None:
    composed: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    folders = [service["environment"].get("ZTHUMB_DATA_FOLDER") for service in composed["services"].values()]
    assert len(set(folders)) == len(folders)


def _variables() -> set[str]:
    from zthumb.server.settings import Settings, variables

    return {variable for name in Settings.model_fields for variable in variables(name)}


def test_every_task_is_there_and_is_what_compose_does() -> None:
    def told(*arguments: str) -> str:
        command = [BESIDE / "task", "--dry", "--yes", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "CI": "1"})
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    for task in ("up", "up.server", "down", "shell", "logs", "reset"):
        assert "docker compose --file docker/compose.yaml" in told(task), task
    assert "--profile gpu up" in told("up.server", "--", "gpu")
    assert "--volumes" in told("reset")


def test_only_what_an_image_needs_goes_into_one() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    named = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert lines[1] == "*"
    assert all((ROOT / name).exists() for name in named)
    assert not {".git", ".venv", "outputs", "tests", ".env"} & set(named)


@pytest.mark.parametrize(
    ("device", "said"),
    [("cpu", "--tag zthumb-server:cpu"), ("cuda", "--build-arg TORCH_WHEELS= --tag zthumb-server:cuda")],
)
def test_make_builds_what_is_asked_for(device: str, said: str) -> None:
    command = ["make", "--dry-run", "docker_finetune_z", f"DEVICE={device}", "RUN=mine"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said in done.stdout
    assert f"training/Dockerfile.{device}" in done.stdout
    assert '--env RUN="mine"' in done.stdout
    assert ("--gpus all" in done.stdout) is (device == "cuda")


def test_the_table_of_the_last_check_stands_in_the_readme() -> None:
    found = {
        "debian": "12.15",
        "images": {"a:cpu": {"bytes": 1_500_000_000, "build_s": 100}},
        "finetune_s": 60,
        "ready_s": 5.0,
        "image_s": 1.0,
        "cuda_packages": {"training": 100, "server": 80},
    }
    text = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    written = check.with_table(text, found)
    assert "| a:cpu | 1.50 GB | 100 s |" in written
    assert check.with_table(written, found) == written


def test_a_machine_that_lacks_what_the_check_takes_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert check.main([]) == 2
    assert "buildah and debootstrap is missing" in capsys.readouterr().err
