"""The catalogue on the command line."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.errors import BAD_INPUT, DONE, FAILED
from tests.conftest import ROOT
from tests.zthumb.sources.fake_civitai import FakeCivitai
from zthumb.scripts import download_models
from zthumb.sources import civitai, resolve

WEIGHTS = b"weights" * 100


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "models" / "mini-clip", tmp_path / "models" / "mini-clip")
    return tmp_path / "models"


def test_the_list_shows_which_models_are_here(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download_models.main(["--list"]) == DONE
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " here " in lines["mini-clip"].replace("not here", "")
    assert "not here" in lines["sdxl-base-1.0"]
    assert "CreativeML Open RAIL++-M" in lines["sdxl-base-1.0"]


def test_existing_files_are_verified_and_a_changed_file_is_reported(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download_models.main(["--verify"]) == DONE
    assert "mini-clip: 1 of 1 files with a known hash match it" in capsys.readouterr().out
    with (models / "mini-clip" / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert download_models.main(["--verify", "mini-clip"]) == FAILED
    assert "expected" in capsys.readouterr().err
    assert download_models.main(["--verify", "dinov2-base"]) == FAILED
    assert "dinov2-base: is not here" in capsys.readouterr().err


def test_the_error_for_an_unknown_name_suggests_the_nearest(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download_models.main(["mini-sdx"]) == BAD_INPUT
    assert "Did you mean 'mini-sdxl'" in capsys.readouterr().err


def test_a_reference_outside_the_catalogue_is_downloaded_too(
    models: Path, fake_civitai: FakeCivitai, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {
        "id": 2,
        "name": "badge.safetensors",
        "hashes": {"SHA256": hashlib.sha256(WEIGHTS).hexdigest()},
        "downloadUrl": fake_civitai.url("/get"),
    }
    version = {"id": 7, "modelId": 5, "baseModel": "SDXL 1.0", "model": {"type": "LORA"}, "files": [file]}
    fake_civitai.files |= {"/api/v1/model-versions/7": json.dumps(version).encode(), "/get": WEIGHTS}
    monkeypatch.setattr(civitai, "HOST", fake_civitai.url(""))
    resolver_class = resolve.Resolver
    monkeypatch.setattr(
        download_models,
        "Resolver",
        lambda models, watch: resolver_class(models, fake_civitai.policy(), watch, civitai_host=fake_civitai.url("")),
    )
    assert download_models.main(["civitai:5@7"]) == DONE
    output = capsys.readouterr()
    assert "models/civitai/5/7/badge.safetensors" in output.out
    assert "badge.safetensors: 100%" in output.err
    assert (models / "civitai" / "5" / "7" / "badge.safetensors").read_bytes() == WEIGHTS


def test_the_module_runs_as_a_command(models: Path) -> None:
    command = [sys.executable, "-m", "zthumb.scripts.download_models", "--verify", "mini-clip"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
