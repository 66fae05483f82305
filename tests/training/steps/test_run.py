from pathlib import Path

import pytest
import torch

from foundation.errors import BadInput
from foundation.manifest import Stage
from tests.training.conftest import validation
from training.steps import checkpoints
from training.steps.run import Run


def test_one_process_holds_a_run_at_a_time(tmp_path: Path) -> None:
    with Run.lock(tmp_path / "run"), pytest.raises(BadInput, match="another process"), Run.lock(tmp_path / "run"):
        pass
    with Run.lock(tmp_path / "run"):
        pass


def test_what_will_be_made_again_is_dropped(tmp_path: Path) -> None:
    with Run.lock(tmp_path / "run") as run:
        for step in range(1, 6):
            run.log({"step": step, "loss": 0.5})
        with (run.folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 6, "lo')
        for step in (0, 2, 4):
            run.log_validation(validation(step, 0.5))
            (run.previews / f"step-{step:06d}").mkdir(parents=True)
        run.discard_after(3)
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 3
        assert [look.step for look in run.validations()] == [0, 2]
        assert sorted(path.name for path in run.previews.iterdir()) == ["step-000000", "step-000002"]


def _lesson(steps: int, images: str = "p" * 64) -> Stage:
    return Stage("train", {"dataset.json": images}, {"steps": steps, "optimizer": {"lr": 0.1}}, seed=0)


def test_a_run_that_learns_something_else_steps_aside_whole(tmp_path: Path) -> None:
    with Run.lock(tmp_path / "run") as run:
        for again in (1, 2):
            checkpoints.save(run.checkpoints, again, _lesson(again), {"a": torch.zeros(1)}, {})
            run.log({"step": again})
            assert run.archive(_lesson(again), again) is None

            message = run.archive(_lesson(again + 1, "q" * 64), again + 1)

            aside = tmp_path / f"run-earlier-{again}"
            assert message is not None
            assert message.endswith(f"what it held, {again} steps, is now {aside}")
            assert f"dataset.json has changed, steps: {again} → {again + 1}, so it starts over" in message
            assert list(run.folder.iterdir()) == []
            assert [each.step for each in checkpoints.read_checkpoints(aside / "checkpoints") if each.is_valid] == [again]
            assert (aside / "metrics.jsonl").read_text() == f'{{"step": {again}}}\n'
        with pytest.raises(BadInput, match="another process"), Run.lock(tmp_path / "run"):
            pass
