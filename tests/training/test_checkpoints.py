from pathlib import Path

import torch

from training import checkpoints


def _save(folder: Path, step: int, fingerprint: str = "f") -> None:
    checkpoints.save(folder, step, fingerprint, {"a": torch.full((2,), float(step))}, {"state": {}, "param_groups": []}, keep=2)


def test_the_latest_are_kept_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (50, 100, 1000):
        _save(tmp_path, step)
    found = checkpoints.found(tmp_path)
    assert [checkpoint.step for checkpoint in found] == [100, 1000]
    assert found[-1].adapter()["a"].tolist() == [1000.0, 1000.0]
    assert found[-1].optimizer() == {"state": {}, "param_groups": []}


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    _save(tmp_path, 50)
    (tmp_path / ".step-000060.abc.part").mkdir()
    (tmp_path / "step-000070").mkdir()
    assert [checkpoint.step for checkpoint in checkpoints.found(tmp_path)] == [50]


def test_checkpoints_of_another_recipe_are_forgotten(tmp_path: Path) -> None:
    _save(tmp_path, 50, "old")
    checkpoints.forget_others(tmp_path, "new")
    assert checkpoints.found(tmp_path) == []
