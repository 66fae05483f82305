"""The grades of the miniatures: what is drawn right gets full marks, what is not gets none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from foundation.files import read_json
from miniature.drawing import draw
from miniature.glyphs import GLYPHS
from miniature.grade import (
    CHINESE,
    ENGLISH,
    TARGETS,
    Grade,
    Target,
    draw_plates,
    draw_scenes,
    format_table,
    grade_images,
    grade_model,
    grade_signs,
)
from miniature.sign_reading import SignReading, read_sign
from miniature.world import COLOURS
from tests.zthumb.families import random_miniatures


def test_images_of_the_right_scenes_get_full_marks_and_images_of_other_scenes_do_not() -> None:
    scenes = draw_scenes(seed=3, count=24)
    images = [draw(scene) for scene in scenes]
    assert grade_images(scenes, images) == Grade({"background": 1.0, "object": 1.0, "position": 1.0, "shape": 1.0})
    mismatched = grade_images(scenes, images[1:] + images[:1]).figures
    assert max(mismatched[name] for name in ("background", "object", "shape")) < 0.5


def test_a_sign_is_read_off_every_plate_and_off_a_blurred_one_and_not_mistaken_for_another() -> None:
    scenes = draw_plates(seed=3, count=2 * len(GLYPHS))
    images = [draw(scene) for scene in scenes]
    blurred = [np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5))) for image in images]

    assert grade_signs(scenes, images).figures == {"sign": 1.0}
    assert grade_signs(scenes, blurred).figures == {"sign": 1.0}
    others = [replace(scene, shape=other.shape) for scene, other in zip(scenes, scenes[1:] + scenes[:1], strict=True)]
    assert grade_signs(others, images).figures == {"sign": 0.0}


def test_an_image_without_a_plate_has_no_sign() -> None:
    scene = draw_plates(seed=3, count=1)[0]

    assert read_sign(np.full((128, 128, 3), COLOURS[scene.background], np.uint8), scene) == SignReading(None, 0.0)


def test_a_missed_target_is_reported() -> None:
    grade, target = Grade({"background": 0.99, "object": 0.94, "position": 1.0, "shape": 0.9}), TARGETS["mini-sdxl"]
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
    assert min(grade.figures.values()) >= 0.75
    assert set(read_json(tmp_path / "grade.json")) == {"background", "object", "position", "shape"}


@pytest.mark.slow
def test_a_model_of_two_languages_is_graded_in_both_and_on_plates(miniature: Path, tmp_path: Path) -> None:
    # Given a model with random weights
    random_miniatures.write_qwen_image(miniature, tmp_path / "model")
    target = Target(
        2, 4.0, {}, {"height": 128, "width": 128}, languages=(ENGLISH, CHINESE), has_signs=True, has_true_guidance=True
    )

    grade = grade_model(tmp_path / "model", target, seed=0, out=tmp_path / "grade.json", count=2)

    assert list(grade.figures) == [
        *("background", "object", "position", "shape", "sign"),
        *(f"{name} in Chinese" for name in ("background", "object", "position", "shape", "sign")),
    ]
    # Two images each of scenes and plates in both languages
    assert Image.open(tmp_path / "grade.png").size == (8 * 128, 128)
