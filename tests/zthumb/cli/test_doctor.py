"""``zthumb doctor``: what is wrong here is found, and each finding comes with its remedy."""

import shutil
import socket
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zthumb.cli import main
from zthumb.server import findings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the miniatures, where the command runs."""
    (tmp_path / "models").mkdir()
    for name in ("mini-sdxl", "mini-clip"):
        (tmp_path / "models" / name).symlink_to(ROOT / "models" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["doctor", "--port", "0", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_nothing_is_wrong_with_this_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = _doctor(capsys)

    assert (code, lines[-1]) == (0, "nothing is wrong")
    assert "ok    mini-sdxl is here" in lines


def test_a_package_of_another_version_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "peft" else version(name))
    code, lines = _doctor(capsys)

    assert code == 1
    assert any(line.startswith("wrong peft is 0.1, and ~=") and "`make setup`" in line for line in lines)


def test_a_missing_base_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "models/gone")
    code, lines = _doctor(capsys)

    assert code == 1
    assert any(line.startswith("wrong") and "models/gone" in line for line in lines)


def test_a_damaged_model_is_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "models" / "mini-clip").unlink()
    shutil.copytree(ROOT / "models" / "mini-clip", here / "models" / "mini-clip")
    (here / "models" / "mini-clip" / "model.safetensors").write_bytes(b"half of it")
    code, lines = _doctor(capsys)

    assert code == 1
    assert any(
        "model.safetensors is missing or has another size" in line and "download_models mini-clip" in line for line in lines
    )


def test_a_port_in_use_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines = _doctor(capsys, "--port", str(port))

    assert code == 0
    assert any(line.startswith(f"note  port {port} of 127.0.0.1: Address already in use") for line in lines)


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80", "sm_90"], (9, 0), True),
        (["sm_80"], (8, 9), True),
        (["sm_80", "sm_90"], (12, 0), False),
        (["sm_90", "compute_90"], (12, 0), True),
        (["sm_90a"], (8, 6), False),
        (["sm_120"], (12, 0), True),
    ],
)
def test_code_of_the_cards_own_generation_or_older_intermediate_code_runs(
    architectures: list[str], capability: tuple[int, int], runs: bool
) -> None:
    assert findings._runs_on(architectures, *capability) is runs
