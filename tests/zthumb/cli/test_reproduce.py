"""Reproduce a small stage that this test defines: run it again and compare."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from foundation.errors import BAD_INPUT, DONE, FAILED
from foundation.files import read_json, write_json
from foundation.hashing import hash_files
from foundation.manifest import NAME, Stage
from zthumb.cli import main, reproduce
from zthumb.cli.file_difference import difference

STAGE = """
import json, pathlib, sys
raw, output = pathlib.Path("work/raw.txt").read_text(), pathlib.Path("work/output")
assert not list(output.iterdir()), "the output must not exist yet"
(output / "text.txt").write_text(raw * int(sys.argv[1]))
(output / "figures.json").write_text(json.dumps({"environment": {"now": 1}, "figures": {"likeness": 0.5, "name": raw}}))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which the stage was run, with its manifest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stagelet.py").write_text(STAGE)
    output = tmp_path / "work" / "output"
    output.mkdir(parents=True)
    (tmp_path / "work" / "raw.txt").write_text("abc")
    (output / "text.txt").write_text("abcabc")
    (output / "figures.json").write_text(json.dumps({"environment": {"now": 0}, "figures": {"likeness": 0.5, "name": "abc"}}))
    Stage("small", {}, {}, command=("stagelet", "2", "--name", "output")).write_manifest(output, hash_files(output))
    stages = {"small": reproduce.ReproducibleStage("stagelet", "--name", "work"), **reproduce.STAGES}
    monkeypatch.setattr(reproduce, "STAGES", stages)
    return tmp_path


def _manifest(root: Path) -> str:
    return str(root / "work" / "output" / NAME)


def test_an_equal_output_is_reported_as_equal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "work/output/manifest.json"]) == DONE
    assert "2 of 2 files of work/output are the same byte for byte" in capsys.readouterr().out


def test_a_results_file_stands_for_the_manifest_next_to_it(root: Path) -> None:
    assert main(["reproduce", str(root / "work" / "output" / "results.json")]) == DONE


def test_the_first_difference_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "work" / "raw.txt").write_text("abd")
    assert main(["reproduce", _manifest(root)]) == FAILED
    stdout = capsys.readouterr().out
    assert "0 of 2 files" in stdout
    assert 'figures.json: figures.name was "abc" and is "abd"' in stdout


def test_a_file_that_is_not_written_again_is_a_difference(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_json(Path(_manifest(root)))
    write_json(Path(_manifest(root)), manifest | {"outputs": manifest["outputs"] | {"a.txt": "0" * 64}})
    assert main(["reproduce", _manifest(root)]) == FAILED
    assert "a.txt: was not written this time" in capsys.readouterr().out


def test_changed_packages_are_noted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_json(Path(_manifest(root)))
    write_json(Path(_manifest(root)), manifest | {"packages": {"torch": "1.0"}})
    assert main(["reproduce", _manifest(root)]) == DONE
    assert "note: torch was 1.0 and is" in capsys.readouterr().out


def test_existing_files_are_not_changed(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "work" / "raw.txt").write_text("abd")
    main(["reproduce", _manifest(root)])
    after = {path: path.read_bytes() for path in before if path.name != "raw.txt"}
    assert all(before[path] == data for path, data in after.items())


def test_other_files_in_the_output_folder_are_hidden_from_the_stage(root: Path) -> None:
    neighbour = root / "work" / "output" / "previews"
    neighbour.mkdir()
    (root / "stagelet.py").write_text('import pathlib\nassert not pathlib.Path("work/output/previews").exists()\n' + STAGE)
    assert main(["reproduce", _manifest(root)]) == DONE
    assert neighbour.is_dir()


def test_a_moved_manifest_is_refused_and_its_stage_does_not_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "docs").mkdir()
    moved = root / "docs" / NAME
    moved.write_bytes(Path(_manifest(root)).read_bytes())
    before = (root / "work" / "output" / "text.txt").stat().st_mtime_ns
    assert main(["reproduce", str(moved)]) == BAD_INPUT
    assert "its stage writes to work/output" in capsys.readouterr().err
    assert (root / "work" / "output" / "text.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{", BAD_INPUT, "not valid JSON"),
        ("[]", BAD_INPUT, "does not contain the command"),
        ('{"command": []}', BAD_INPUT, "does not contain the command"),
        ('{"command": ["os"]}', BAD_INPUT, "does not contain the command"),
        ('{"command": ["os"], "stage": "small", "outputs": {}, "packages": {}, "platform": {}}', BAD_INPUT, "can be run again"),
    ],
)
def test_an_invalid_manifest_is_an_error_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, message: str
) -> None:
    Path(_manifest(root)).write_text(text)
    assert main(["reproduce", _manifest(root)]) == code
    assert message in capsys.readouterr().err


def test_a_missing_manifest_or_one_outside_this_folder_is_an_error_in_one_line(
    root: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["reproduce", "gone/manifest.json"]) == BAD_INPUT
    assert "does not exist" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["reproduce", _manifest(root)]) == BAD_INPUT
    assert "is outside" in capsys.readouterr().err


def test_a_stage_that_fails_this_time_is_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "work" / "raw.txt").unlink()
    assert main(["reproduce", _manifest(root)]) == FAILED
    assert "the stage exited with code 1 this time: -m stagelet 2 --name output" in capsys.readouterr().err


def _difference(old: Path, new: Path, is_tolerant: bool) -> str | None:
    return difference(old, new, hash_files(old.parent)[old.name], is_tolerant)


@pytest.mark.parametrize(
    ("step", "is_tolerant", "message"),
    [(3, False, "pixel (2, 1) first, by 3 of 255"), (3, True, None), (0, False, "same pixels")],
)
def test_a_difference_of_images_names_a_pixel_and_is_tolerated_on_a_gpu(
    tmp_path: Path, step: int, is_tolerant: bool, message: str | None
) -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    Image.fromarray(image).save(tmp_path / "old.png")
    image[1, 2] += step
    Image.fromarray(image).save(tmp_path / "new.png", compress_level=0)
    result = _difference(tmp_path / "old.png", tmp_path / "new.png", is_tolerant)
    assert (result is None) if message is None else message in str(result)


def test_a_difference_of_tensors_names_the_tensor_and_is_tolerated_on_a_gpu_if_small(tmp_path: Path) -> None:
    old, near, far = (np.full((2, 2), value, np.float32) for value in (1.0, 1.001, 2.0))
    for name, value in (("old", old), ("near", near), ("far", far)):
        save_file({"unet.a": value}, tmp_path / f"{name}.safetensors")
    assert "tensor unet.a, by 0.001" in str(_difference(tmp_path / "old.safetensors", tmp_path / "near.safetensors", False))
    assert _difference(tmp_path / "old.safetensors", tmp_path / "near.safetensors", True) is None
    assert "tensor unet.a, by 1" in str(_difference(tmp_path / "old.safetensors", tmp_path / "far.safetensors", True))


def test_numbers_made_on_a_gpu_may_differ_by_one_percent(tmp_path: Path) -> None:
    for name, value in (("old", 1.0), ("near", 1.005), ("far", 1.05)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"a": [value]}))
    assert _difference(tmp_path / "old.json", tmp_path / "near.json", True) is None
    assert _difference(tmp_path / "old.json", tmp_path / "far.json", True) == "a[0] was 1.0 and is 1.05"
    assert _difference(tmp_path / "old.json", tmp_path / "near.json", False) == "a[0] was 1.0 and is 1.005"


def test_pages_may_differ_only_in_their_description_of_machine_and_code(tmp_path: Path) -> None:
    pages = {
        "html": '<p>{text}</p><section id="provenance"><h2>Provenance</h2>{commit}</section><p>end</p>',
        "md": "# {text}\n\n## How it was made\n\n| commit | {commit} |\n",
    }
    for suffix, page in pages.items():
        for name, (text, commit) in {"old": ("a", "1"), "new": ("a", "2"), "wrong": ("b", "1")}.items():
            (tmp_path / f"{name}.{suffix}").write_text(page.format(text=text, commit=commit))
        assert _difference(tmp_path / f"old.{suffix}", tmp_path / f"new.{suffix}", False) is None
        assert "byte" in str(_difference(tmp_path / f"old.{suffix}", tmp_path / f"wrong.{suffix}", False))


def test_bfloat16_tensors_are_compared_too(tmp_path: Path) -> None:
    for name, value in (("old", 1.0), ("new", 1.5)):
        save_torch_file({"a": torch.full((2,), value, dtype=torch.bfloat16)}, tmp_path / f"{name}.safetensors")
    assert "tensor a, by 0.5" in str(_difference(tmp_path / "old.safetensors", tmp_path / "new.safetensors", False))
