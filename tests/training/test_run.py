from pathlib import Path

import pytest

from foundation.errors import BadInput
from training.run import Run


def test_one_process_holds_a_run_at_a_time(tmp_path: Path) -> None:
    with Run.hold(tmp_path / "run"), pytest.raises(BadInput, match="another process"), Run.hold(tmp_path / "run"):
        pass
    with Run.hold(tmp_path / "run"):
        pass


def test_metrics_of_steps_that_will_be_made_again_are_dropped(tmp_path: Path) -> None:
    with Run.hold(tmp_path / "run") as run:
        for step in range(1, 6):
            run.log({"step": step, "loss": 0.5})
        with (run.folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 6, "lo')
        run.keep_metrics_before(3)
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
