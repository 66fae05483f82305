from pathlib import Path

import pytest

from foundation.errors import BadInput
from tests.training.conftest import validation
from training.steps.run import Run


def test_one_process_holds_a_run_at_a_time(tmp_path: Path) -> None:
    with Run.hold(tmp_path / "run"), pytest.raises(BadInput, match="another process"), Run.hold(tmp_path / "run"):
        pass
    with Run.hold(tmp_path / "run"):
        pass


def test_what_will_be_made_again_is_dropped(tmp_path: Path) -> None:
    with Run.hold(tmp_path / "run") as run:
        for step in range(1, 6):
            run.log({"step": step, "loss": 0.5})
        with (run.folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 6, "lo')
        for step in (0, 2, 4):
            run.log_validation(validation(step, 0.5))
            (run.previews / f"step-{step:06d}").mkdir(parents=True)
        run.forget_after(3)
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 3
        assert [look.step for look in run.validations()] == [0, 2]
        assert sorted(path.name for path in run.previews.iterdir()) == ["step-000000", "step-000002"]
