from pathlib import Path

import torch

from foundation.manifest import Stage
from training.steps import checkpoints

RESUME_KEY = Stage("train", {"base": "b" * 64}, {"steps": 1000}, seed=0)


def _save(folder: Path, step: int) -> None:
    checkpoints.save(folder, step, RESUME_KEY, {"a": torch.full((2,), float(step))}, {"optimizer": {}})


def test_the_latest_and_the_best_are_kept_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (50, 100, 150, 1000):
        _save(tmp_path, step)
    checkpoints.remove_old(tmp_path, latest=2, best=50)
    found = checkpoints.read_checkpoints(tmp_path)
    assert [checkpoint.step for checkpoint in found] == [50, 150, 1000]
    assert found[-1].adapter()["a"].tolist() == [1000.0, 1000.0]
    assert found[-1].training() == {"optimizer": {}}


def test_a_damaged_checkpoint_is_known_for_one(tmp_path: Path) -> None:
    _save(tmp_path, 50)
    assert checkpoints.read_checkpoints(tmp_path)[0].is_valid
    path = tmp_path / "step-000050" / "training.pt"
    path.write_bytes(path.read_bytes()[:-1])
    assert not checkpoints.read_checkpoints(tmp_path)[0].is_valid


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    _save(tmp_path, 50)
    (tmp_path / ".step-000060.abc.part").mkdir()
    (tmp_path / "step-000070").mkdir()
    assert [checkpoint.step for checkpoint in checkpoints.read_checkpoints(tmp_path)] == [50]


def test_a_checkpoint_tells_what_was_learned_from_what(tmp_path: Path) -> None:
    _save(tmp_path, 50)
    (found,) = checkpoints.read_checkpoints(tmp_path)
    assert found.fingerprint == RESUME_KEY.fingerprint
    assert (found.inputs, found.settings) == (RESUME_KEY.inputs, RESUME_KEY.settings)
