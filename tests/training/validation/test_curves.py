"""The curves are drawn from the logs, the same bytes each time."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training.conftest import validation
from training.steps.run import Run
from training.validation import curves
from training.validation.records import Validation


@pytest.mark.parametrize("looks", [[], [validation(0, 0.5), validation(20, 0.4), validation(40, 0.3)]])
def test_twice_drawn_is_the_same_image(tmp_path: Path, looks: list[Validation]) -> None:
    run = Run(tmp_path)
    for step in range(1, 41):
        run.log({"step": step, "loss": 1 / step, "prior": 0.01, "gradient_norm": 0.5, "rate": 1e-3})

    for name in ("one.png", "two.png"):
        curves.draw(tmp_path / "metrics.jsonl", looks, tmp_path / name)

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width > 1000
