"""``zthumb convert`` as a user types it."""

from pathlib import Path

import pytest

from tests.conftest import MINIATURE
from zthumb.cli import main


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "mini-sdxl").symlink_to(MINIATURE)
    return tmp_path / "mini-sdxl"


def test_the_file_is_written_next_to_the_base_and_its_size_is_reported(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "gguf", str(base)]) == 0
    assert "mini-sdxl.gguf: 12.5 MiB, instead of 17.0 MiB" in capsys.readouterr().out
    assert base.with_name("mini-sdxl.gguf").stat().st_size > 12e6
    assert main(["convert", "gguf", str(base)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["convert", "gguf", str(base), "--type", "Q4_0", "--force"]) == 0
    assert base.with_name("mini-sdxl.gguf").stat().st_size < 11e6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone"], "does not exist, and is not in the catalogue"),
        (["mini-sdxl", "--type", "q4_k_m"], "stable-diffusion.cpp writes it"),
        (["mini-sdxl", "--type", "q8"], "Did you mean 'q8_0'?"),
        (["mini-sdxl", "--out", "x.bin"], "must end in .gguf"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(base.parent)
    assert main(["convert", "gguf", *arguments]) == 2
    stderr = capsys.readouterr().err
    assert reason in stderr
    assert "Traceback" not in stderr
    assert sorted(path.name for path in base.parent.rglob("*")) == ["mini-sdxl"]
