from dataclasses import replace
from pathlib import Path

import pytest

from foundation.files import read_json
from miniature.drawing import draw
from miniature.grade import TARGETS, Grade, draw_scenes, format_table, grade_images, grade_model


def test_images_of_the_right_scenes_get_full_marks_and_images_of_other_scenes_do_not() -> None:
    scenes = draw_scenes(seed=3, count=24)
    images = [draw(scene) for scene in scenes]
    assert grade_images(scenes, images) == Grade(1.0, 1.0, 1.0, 1.0)
    mismatched = grade_images(scenes, images[1:] + images[:1])
    assert max(mismatched.background, mismatched.object, mismatched.shape) < 0.5


def test_a_missed_target_is_reported() -> None:
    grade, target = Grade(background=0.99, object=0.94, position=1.0, shape=0.9), TARGETS["mini-sdxl"]
    assert grade.missed(target) == {"object": 0.94}
    assert format_table(grade, target).count("missed") == 1
    assert grade.missed(TARGETS["mini-sdxl-turbo"]) == {}


@pytest.mark.parametrize("name", list(TARGETS))
def test_the_committed_card_states_figures_that_reach_the_target(miniature: Path, name: str) -> None:
    card = (miniature.parent / name / "README.md").read_text()
    for figure, required in TARGETS[name].required.items():
        line = next(line for line in card.splitlines() if line.startswith(f"| {figure} |"))
        assert float(line.split("|")[2].strip().rstrip("%")) / 100 >= required


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TARGETS))
def test_the_committed_weights_generate_what_the_prompts_request(miniature: Path, tmp_path: Path, name: str) -> None:
    target = replace(TARGETS[name], steps=min(15, TARGETS[name].steps))
    grade = grade_model(miniature.parent / name, target, seed=1, out=tmp_path / "grade.json", count=20)
    # Twenty prompts are few: this catches broken weights, `make grade_mini` holds them to the target.
    assert min(grade.background, grade.object, grade.position, grade.shape) >= 0.75
    assert set(read_json(tmp_path / "grade.json")) == {"background", "object", "position", "shape"}
