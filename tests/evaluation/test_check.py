"""The check reports what an evaluation will lack before anything is trained for it."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image

from evaluation.check import MIN_HELD_OUT, main
from foundation.files import write_json

PROMPTS = "trained: ['a red {trigger}']\ncontrol: [a star]\nextractors: [pixel]\n"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a prompts file and a prepared data set of one held-out image."""
    monkeypatch.chdir(tmp_path)
    Path("prompts.yaml").write_text(PROMPTS)
    Path("data").mkdir()
    Image.new("RGB", (64, 64)).save("data/a.png")
    entry = {"role": "holdout", "file": "a.png", "source": "raw/a.png", "source_sha256": "0" * 64}
    dataset = {"trigger": "zb", "background": "white", "resolution": 64, "entries": [entry]}
    write_json(Path("data/dataset.json"), dataset)
    return tmp_path


ARGUMENTS = ["--prompts", "prompts.yaml", "--dataset", "data"]


def test_too_few_references_are_reported(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS) == 0

    output = capsys.readouterr().out
    assert "1 held-out images can be read" in output
    assert f"put {MIN_HELD_OUT} or more images of the concept that are not trained on into reference/" in output


def test_without_control_prompts_it_warns_that_nothing_will_be_recommended(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "prompts.yaml").write_text(PROMPTS.replace("control: [a star]\n", ""))

    assert main(ARGUMENTS) == 0
    assert "no prompt is free of the trigger" in capsys.readouterr().out


def test_prompts_in_a_language_that_no_extractor_reads_are_reported(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.yaml").write_text(
        "trained: ['红色的{trigger}']\ncontrol: [星星]\nextractors: [pixel, clip]\n", encoding="utf-8"
    )
    (workspace / "models" / "clip-vit-large-patch14").mkdir(parents=True)

    assert main(ARGUMENTS) == 0
    assert "no extractor reads the language of “红色的”" in capsys.readouterr().out


def test_a_reference_that_cannot_be_read_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "data" / "a.png").write_bytes(b"no image")

    assert main(ARGUMENTS) == 2
    assert "a.png: not an image" in capsys.readouterr().err


def test_a_full_disk_is_reported_with_the_size_of_the_images(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two prompts at four seeds and four scales of 64 × 64 pixels are half a megabyte.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40 - 2**18, 2**18))
    assert main(ARGUMENTS) == 2
    assert "the images of a report take about" in capsys.readouterr().err

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40 - 2**21, 2**21))
    assert main(ARGUMENTS) == 0


def test_a_folder_that_cannot_be_written_to_is_reported(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)

    assert main(ARGUMENTS) == 2
    assert "cannot be written to (Permission denied)" in capsys.readouterr().err


def test_a_data_set_of_an_earlier_version_has_to_be_prepared_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(workspace / "data" / "dataset.json", {"trigger": "zb", "entries": []})

    assert main(ARGUMENTS) == 2
    assert "written by another version" in capsys.readouterr().err
