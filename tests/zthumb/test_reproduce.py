"""Reproducing: a small stage of the test's own, run again and compared."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_file

from foundation.errors import BAD_INPUT, DONE, FAILED
from foundation.files import read_json, write_json
from foundation.hashing import hash_files
from foundation.manifest import NAME, Stage
from zthumb import reproduce
from zthumb.cli import main
from zthumb.difference import difference

STAGE = """
import json, pathlib, sys
raw, made = pathlib.Path("work/raw.txt").read_text(), pathlib.Path("work/made")
assert not list(made.iterdir()), "what was made must not be there yet"
(made / "text.txt").write_text(raw * int(sys.argv[1]))
(made / "figures.json").write_text(json.dumps({"environment": {"now": 1}, "figures": {"likeness": 0.5, "name": raw}}))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the stage was run, with its manifest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stagelet.py").write_text(STAGE)
    made = tmp_path / "work" / "made"
    made.mkdir(parents=True)
    (tmp_path / "work" / "raw.txt").write_text("abc")
    (made / "text.txt").write_text("abcabc")
    (made / "figures.json").write_text(json.dumps({"environment": {"now": 0}, "figures": {"likeness": 0.5, "name": "abc"}}))
    Stage("small", {}, {}, command=("stagelet", "2", "--name", "made")).write_manifest(made, hash_files(made))
    stages = {"small": reproduce.Known("stagelet", "--name", "work"), **reproduce.STAGES}
    monkeypatch.setattr(reproduce, "STAGES", stages)
    return tmp_path


def _manifest(place: Path) -> str:
    return str(place / "work" / "made" / NAME)


def test_what_is_made_again_alike_is_said_to_be_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "work/made/manifest.json"]) == DONE
    assert "2 of 2 files of work/made are the same byte for byte" in capsys.readouterr().out


def test_a_results_file_stands_for_the_manifest_beside_it(place: Path) -> None:
    assert main(["reproduce", str(place / "work" / "made" / "results.json")]) == DONE


def test_the_first_difference_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "work" / "raw.txt").write_text("abd")
    assert main(["reproduce", _manifest(place)]) == FAILED
    told = capsys.readouterr().out
    assert "0 of 2 files" in told
    assert 'figures.json: figures.name was "abc" and is "abd"' in told


def test_a_file_that_is_not_made_again_is_a_difference(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = read_json(Path(_manifest(place)))
    write_json(Path(_manifest(place)), told | {"outputs": told["outputs"] | {"a.txt": "0" * 64}})
    assert main(["reproduce", _manifest(place)]) == FAILED
    assert "a.txt: was not made again" in capsys.readouterr().out


def test_other_packages_than_then_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = read_json(Path(_manifest(place)))
    write_json(Path(_manifest(place)), told | {"packages": {"torch": "1.0"}})
    assert main(["reproduce", _manifest(place)]) == DONE
    assert "note: torch was 1.0 and is" in capsys.readouterr().out


def test_what_is_there_is_left_as_it_is(place: Path) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    (place / "work" / "raw.txt").write_text("abd")
    main(["reproduce", _manifest(place)])
    after = {path: path.read_bytes() for path in before if path.name != "raw.txt"}
    assert all(before[path] == data for path, data in after.items())


def test_what_lies_beside_the_output_and_is_none_is_not_in_the_stages_reach(place: Path) -> None:
    beside = place / "work" / "made" / "previews"
    beside.mkdir()
    (place / "stagelet.py").write_text('import pathlib\nassert not pathlib.Path("work/made/previews").exists()\n' + STAGE)
    assert main(["reproduce", _manifest(place)]) == DONE
    assert beside.is_dir()


def test_a_manifest_that_was_moved_does_not_make_its_stage_write_elsewhere(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "docs").mkdir()
    moved = place / "docs" / NAME
    moved.write_bytes(Path(_manifest(place)).read_bytes())
    before = (place / "work" / "made" / "text.txt").stat().st_mtime_ns
    assert main(["reproduce", str(moved)]) == BAD_INPUT
    assert "its stage writes to work/made" in capsys.readouterr().err
    assert (place / "work" / "made" / "text.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("{", BAD_INPUT, "not valid JSON"),
        ("[]", BAD_INPUT, "does not tell the command"),
        ('{"command": []}', BAD_INPUT, "does not tell the command"),
        ('{"command": ["os"]}', BAD_INPUT, "does not tell the command"),
        ('{"command": ["os"], "stage": "small", "outputs": {}, "packages": {}, "platform": {}}', BAD_INPUT, "can be run again"),
    ],
)
def test_a_manifest_that_is_none_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, named: str
) -> None:
    Path(_manifest(place)).write_text(text)
    assert main(["reproduce", _manifest(place)]) == code
    assert named in capsys.readouterr().err


def test_one_that_is_not_there_or_lies_elsewhere_is_one_line(
    place: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["reproduce", "gone/manifest.json"]) == BAD_INPUT
    assert "not there" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["reproduce", _manifest(place)]) == BAD_INPUT
    assert "lies outside" in capsys.readouterr().err


def test_a_stage_that_fails_this_time_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "work" / "raw.txt").unlink()
    assert main(["reproduce", _manifest(place)]) == FAILED
    assert "the stage ended with code 1 this time: -m stagelet 2 --name made" in capsys.readouterr().err


def _difference(one: Path, other: Path, is_tolerant: bool) -> str | None:
    return difference(one, other, hash_files(one.parent)[one.name], is_tolerant)


@pytest.mark.parametrize(
    ("by", "is_tolerant", "told"), [(3, False, "pixel (2, 1) first, by 3 of 255"), (3, True, None), (0, False, "same pixels")]
)
def test_images_differ_by_a_pixel_that_is_named_and_on_a_gpu_by_no_more_than_its_tolerance(
    tmp_path: Path, by: int, is_tolerant: bool, told: str | None
) -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    Image.fromarray(image).save(tmp_path / "one.png")
    image[1, 2] += by
    Image.fromarray(image).save(tmp_path / "other.png", compress_level=0)
    found = _difference(tmp_path / "one.png", tmp_path / "other.png", is_tolerant)
    assert (found is None) if told is None else told in str(found)


def test_tensors_differ_by_name_and_on_a_gpu_by_no_more_than_a_share(tmp_path: Path) -> None:
    one, near, far = (np.full((2, 2), value, np.float32) for value in (1.0, 1.001, 2.0))
    for name, value in (("one", one), ("near", near), ("far", far)):
        save_file({"unet.a": value}, tmp_path / f"{name}.safetensors")
    assert "tensor unet.a, by 0.001" in str(_difference(tmp_path / "one.safetensors", tmp_path / "near.safetensors", False))
    assert _difference(tmp_path / "one.safetensors", tmp_path / "near.safetensors", True) is None
    assert "tensor unet.a, by 1" in str(_difference(tmp_path / "one.safetensors", tmp_path / "far.safetensors", True))


def test_numbers_on_a_gpu_may_differ_by_a_hundredth(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("near", 1.005), ("far", 1.05)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"a": [value]}))
    assert _difference(tmp_path / "one.json", tmp_path / "near.json", True) is None
    assert _difference(tmp_path / "one.json", tmp_path / "far.json", True) == "a[0] was 1.0 and is 1.05"
    assert _difference(tmp_path / "one.json", tmp_path / "near.json", False) == "a[0] was 1.0 and is 1.005"


def test_pages_may_differ_in_what_they_tell_of_machine_and_code_alone(tmp_path: Path) -> None:
    pages = {
        "html": '<p>{found}</p><section id="provenance"><h2>Provenance</h2>{commit}</section><p>end</p>',
        "md": "# {found}\n\n## How it was made\n\n| commit | {commit} |\n",
    }
    for suffix, page in pages.items():
        for name, told in {"one": ("a", "1"), "other": ("a", "2"), "wrong": ("b", "1")}.items():
            (tmp_path / f"{name}.{suffix}").write_text(page.format(found=told[0], commit=told[1]))
        assert _difference(tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}", False) is None
        assert "byte" in str(_difference(tmp_path / f"one.{suffix}", tmp_path / f"wrong.{suffix}", False))


def test_bfloat16_tensors_are_compared_too(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("other", 1.5)):
        torch_file({"a": torch.full((2,), value, dtype=torch.bfloat16)}, tmp_path / f"{name}.safetensors")
    assert "tensor a, by 0.5" in str(_difference(tmp_path / "one.safetensors", tmp_path / "other.safetensors", False))
