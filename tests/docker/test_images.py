"""The container images' files agree with the list of pinned versions and with each other."""

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

VENV_PROGRAMS = Path(sys.executable).parent
DOCKERFILES = ("docker/server.Dockerfile", "training/Dockerfile.cpu", "training/Dockerfile.cuda")
LOCKS = sorted((ROOT / "docker" / "locks").glob("*.txt"))
_PIN = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)


def _normalize_name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _pins(device: str) -> dict[str, str]:
    """Return the pins of this device's requirements, including those common to all devices."""
    texts = [(ROOT / "training" / f"requirements.{name}.txt").read_text(encoding="utf-8") for name in ("base", device)]
    return {_normalize_name(name): version for text in texts for name, version in _PIN.findall(text)}


def _locked(path: Path) -> dict[str, str]:
    return {_normalize_name(name): version for name, version in _PIN.findall(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_training_image_installs_every_pinned_package_and_no_other(device: str) -> None:
    locked = _locked(ROOT / "docker" / "locks" / f"training-{device}.txt")
    # CPU builds of torch have a suffix in their version.
    assert {name: version.removesuffix("+cpu") for name, version in locked.items()} == _pins(device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_server_image_installs_the_pinned_versions(device: str) -> None:
    pins = _pins(device)
    for name, version in _locked(ROOT / "docker" / "locks" / f"server-{device}.txt").items():
        assert version.removesuffix("+cpu") == pins[name], name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(path: Path) -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def _imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = [
        (node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) and node.module for alias in node.names
    ]
    return modules | {module for module, _ in members} | {f"{module}.{name}" for module, name in members}


def _server_files() -> list[Path]:
    """Return the server's files and the files of ``foundation`` that they import, directly or indirectly."""
    visited, remaining = list[Path](), list((ROOT / "zthumb").rglob("*.py"))
    while remaining:
        visited.append(remaining.pop())
        imported = {ROOT / f"{name.replace('.', '/')}.py" for name in _imports(visited[-1]) if name.startswith("foundation.")}
        remaining += [path for path in imported - {*visited, *remaining} if path.is_file()]
    return visited


def test_the_server_image_installs_every_package_that_the_server_imports() -> None:
    from importlib.metadata import packages_distributions

    names = {name.split(".")[0] for path in _server_files() for name in _imports(path)} - {"zthumb", "foundation"}
    providers, locked = packages_distributions(), _locked(ROOT / "docker" / "locks" / "server-cpu.txt")
    missing = {provider for name in names for provider in providers.get(name, []) if _normalize_name(provider) not in locked}
    assert missing == set()


def test_the_server_imports_every_package_listed_for_its_image() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in _server_files())
    # Required by packages that the server does import; where several packages would do, the pinned one.
    indirect = {"accelerate", "python-multipart", "pyyaml", "tokenizers"}
    modules = {"pillow": "PIL", "pydantic-settings": "pydantic_settings"}
    for line in (ROOT / "docker" / "server.in").read_text(encoding="utf-8").splitlines():
        name = _normalize_name(line)
        if line and not line.startswith("#") and name not in indirect:
            assert re.search(rf"(import|from) {modules.get(name, name.replace('-', '_'))}\b", sources, re.IGNORECASE), line


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_pinned_and_has_no_build_tools_and_an_unprivileged_user(name: str) -> None:
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


def test_all_images_use_the_same_debian() -> None:
    base_sections = {
        (ROOT / name).read_text(encoding="utf-8").partition("FROM ")[2].partition("apt-get install")[0] for name in DOCKERFILES
    }
    assert len(base_sections) == 1


def test_the_dockerfiles_pass_the_linter() -> None:
    result = subprocess.run([VENV_PROGRAMS / "hadolint", *DOCKERFILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_servers_file_system_is_read_only_and_its_ports_are_bound_to_this_machine() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        # What is trained goes to the models folder.
        assert ("../models:/app/models:ro" in service["volumes"]) is (name != "train")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert set(service["environment"]) <= _setting_variables(), name
    assert "profiles" not in compose["services"]["server"]
    assert compose["services"]["gpu"]["profiles"] == ["gpu"]
    assert compose["services"]["train"]["profiles"] == ["train"]


@pytest.mark.parametrize("name", ["server", "gpu", "train"])
def test_the_defaults_of_compose_give_the_documented_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from zthumb.server.settings import Settings

    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for variable, text in compose["services"][name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*)\}", r"\1", text))
    settings = Settings(host="0.0.0.0")
    assert settings.model == {"gpu": "sdxl-base-1.0"}.get(name, "models/mini-sdxl")
    assert settings.allowed_host_names == ("localhost", "127.0.0.1")
    assert settings.hf_token is None
    assert settings.may_fetch is False


def test_both_servers_have_separate_data_folders() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    folders = [service["environment"].get("ZTHUMB_DATA_FOLDER") for service in compose["services"].values()]
    assert len(set(folders)) == len(folders)


def _setting_variables() -> set[str]:
    from zthumb.server.settings import Settings, variables

    return {variable for name in Settings.model_fields for variable in variables(name)}


def test_every_task_runs_docker_compose() -> None:
    def dry_run(*arguments: str) -> str:
        command = [VENV_PROGRAMS / "task", "--dry", "--yes", *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "CI": "1"})
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    for task in ("up", "up.server", "down", "shell", "logs", "reset"):
        assert "docker compose --file docker/compose.yaml" in dry_run(task), task
    assert "--profile gpu up" in dry_run("up.server", "--", "gpu")
    assert "--volumes" in dry_run("reset")


def test_only_listed_files_are_copied_into_an_image() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    included = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert lines[1] == "*"
    assert all((ROOT / name).exists() for name in included)
    assert not {".git", ".venv", "outputs", "tests", ".env"} & set(included)


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "--tag zthumb-server:cpu"), ("cuda", "--build-arg TORCH_WHEELS= --tag zthumb-server:cuda")],
)
def test_make_builds_the_image_of_the_requested_device(device: str, expected: str) -> None:
    command = ["make", "--dry-run", "docker_finetune_z", f"DEVICE={device}", "RUN=mine"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert expected in result.stdout
    assert f"training/Dockerfile.{device}" in result.stdout
    assert '--env RUN="mine"' in result.stdout
    assert ("--gpus all" in result.stdout) is (device == "cuda")


def test_the_table_of_the_last_check_is_written_into_the_readme() -> None:
    results = {
        "debian": "12.15",
        "images": {"a:cpu": {"bytes": 1_500_000_000, "build_s": 100}},
        "finetune_s": 60,
        "ready_s": 5.0,
        "image_s": 1.0,
        "cuda_packages": {"training": 100, "server": 80},
    }
    text = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    written = check.with_table(text, results)
    assert "| a:cpu | 1.50 GB | 100 s |" in written
    assert check.with_table(written, results) == written


def test_the_check_names_the_programs_that_the_machine_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert check.main([]) == 2
    assert "buildah and debootstrap is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("https://mirror.example/security/\nhttps://mirror.example/linux/debian/\n", "https://mirror.example/linux"),
        ("mirror+file:/etc/apt/mirrors.list\nhttp://other.example/debian\n", "http://other.example"),
    ],
)
def test_the_check_builds_from_the_mirror_that_apt_uses(
    configured: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\nprintf '{configured}'\n", encoding="utf-8")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert check.configured_mirror() == expected


def test_without_a_mirror_the_check_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(check.CheckFailed, match="--debian URL"):
        check.configured_mirror()
