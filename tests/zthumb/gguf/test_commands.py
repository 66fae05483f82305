"""``zthumb convert`` as a person types it."""

from pathlib import Path

import pytest

from tests.conftest import MINIATURE
from zthumb.cli import main


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "mini-sdxl").symlink_to(MINIATURE)
    return tmp_path / "mini-sdxl"


def test_it_lies_beside_the_base_and_says_what_it_spares(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "gguf", str(base)]) == 0
    assert "mini-sdxl.gguf: 12.5 MiB, of 17.0 MiB" in capsys.readouterr().out
    assert base.with_name("mini-sdxl.gguf").stat().st_size > 12e6
    assert main(["convert", "gguf", str(base)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["convert", "gguf", str(base), "--type", "Q4_0", "--force"]) == 0
    assert base.with_name("mini-sdxl.gguf").stat().st_size < 11e6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone"], "nothing is there, and it is not in the catalogue"),
        (["mini-sdxl", "--type", "q4_k_m"], "stable-diffusion.cpp writes it"),
        (["mini-sdxl", "--type", "q8"], "Did you mean 'q8_0'?"),
        (["mini-sdxl", "--out", "x.bin"], "ends in .gguf"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(base.parent)
    assert main(["convert", "gguf", *arguments]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert "Traceback" not in told
    assert sorted(path.name for path in base.parent.rglob("*")) == ["mini-sdxl"]
