from pathlib import Path

from foundation.files import read_json
from foundation.hashing import hash_files
from foundation.manifest import Stage


def _finished(folder: Path) -> Stage:
    folder.mkdir(exist_ok=True)
    (folder / "out").write_text("result")
    stage = Stage("test", {"in": "abc"}, {"rate": 1}, seed=3)
    stage.write_manifest(folder, hash_files(folder))
    return stage


def test_a_stage_is_up_to_date_only_for_the_same_inputs_settings_and_seed(tmp_path: Path) -> None:
    stage = _finished(tmp_path)
    assert stage.is_up_to_date(tmp_path)
    assert Stage("test", {"in": "abc"}, {"rate": 1}, seed=3).is_up_to_date(tmp_path)
    assert not Stage("test", {"in": "other"}, {"rate": 1}, seed=3).is_up_to_date(tmp_path)
    assert not Stage("test", {"in": "abc"}, {"rate": 2}, seed=3).is_up_to_date(tmp_path)
    assert not Stage("test", {"in": "abc"}, {"rate": 1}, seed=4).is_up_to_date(tmp_path)


def test_a_stage_whose_output_was_changed_or_deleted_is_not_up_to_date(tmp_path: Path) -> None:
    stage = _finished(tmp_path)
    (tmp_path / "out").write_text("changed")
    assert not stage.is_up_to_date(tmp_path)
    (tmp_path / "out").unlink()
    assert not stage.is_up_to_date(tmp_path)


def test_a_manifest_records_everything_that_made_the_output(tmp_path: Path) -> None:
    _finished(tmp_path)
    written = read_json(tmp_path / "manifest.json")
    assert set(written) >= {"inputs", "outputs", "settings", "seed", "packages", "platform", "git", "wall_time_s"}
    assert written["packages"]["torch"].startswith("2.13.0")
    assert set(written["git"]) == {"commit", "dirty"}
