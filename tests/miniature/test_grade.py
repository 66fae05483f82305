from dataclasses import replace
from pathlib import Path

import pytest

from foundation.files import read_json
from miniature.drawing import draw
from miniature.grade import BARS, Grade, grade, judge, scenes, table


def test_true_images_are_graded_full_marks_and_the_wrong_ones_are_not() -> None:
    wanted = scenes(seed=3, count=24)
    images = [draw(scene) for scene in wanted]
    assert judge(wanted, images) == Grade(1.0, 1.0, 1.0, 1.0)
    shifted = judge(wanted, images[1:] + images[:1])
    assert max(shifted.background, shifted.object, shifted.shape) < 0.5


def test_a_missed_bar_is_said() -> None:
    reached, bar = Grade(background=0.99, object=0.94, position=1.0, shape=0.9), BARS["mini-sdxl"]
    assert reached.missed(bar) == {"object": 0.94}
    assert table(reached, bar).count("missed") == 1
    assert reached.missed(BARS["mini-sdxl-turbo"]) == {}


@pytest.mark.parametrize("name", list(BARS))
def test_the_card_states_the_figures_that_reach_the_bar(miniature: Path, name: str) -> None:
    card = (miniature.parent / name / "README.md").read_text()
    for figure, required in BARS[name].required.items():
        line = next(line for line in card.splitlines() if line.startswith(f"| {figure} |"))
        assert float(line.split("|")[2].strip().rstrip("%")) / 100 >= required


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BARS))
def test_the_committed_weights_generate_what_they_are_asked_for(miniature: Path, tmp_path: Path, name: str) -> None:
    bar = replace(BARS[name], steps=min(15, BARS[name].steps))
    reached = grade(miniature.parent / name, bar, seed=1, out=tmp_path / "grade.json", count=20)
    # Twenty prompts are few: this catches broken weights, `make grade_mini` holds them to the bar.
    assert min(reached.background, reached.object, reached.position, reached.shape) >= 0.75
    assert set(read_json(tmp_path / "grade.json")) == {"background", "object", "position", "shape"}
