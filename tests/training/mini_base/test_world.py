import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.mini_base import captions, geometry
from training.mini_base.drawing import draw
from training.mini_base.outlines import CONCEPTS
from training.mini_base.pictures import example, picture
from training.mini_base.world import COLOURS, POSITIONS, SHAPES, SIZES, Scene, random_scene


def _scenes(count: int) -> list[Scene]:
    return [random_scene(random.Random(seed)) for seed in range(count)]


def test_the_world_is_as_large_as_promised() -> None:
    assert len(COLOURS) >= 10
    assert len(SHAPES) >= 8
    assert len(SIZES) >= 3
    assert len(POSITIONS) >= 5
    drawn = _scenes(300)
    assert {scene.medium for scene in drawn} == {"photo", "drawing"}
    assert {scene.texture for scene in drawn} == {"plain", "striped", "dotted", "checkered"}
    assert all(scene.colour != scene.background for scene in drawn)


def test_a_scene_is_drawn_the_same_each_time() -> None:
    scene = _scenes(1)[0]
    assert np.array_equal(draw(scene), draw(scene))


def test_geometry_reads_true_pictures_without_a_mistake_in_a_hundred() -> None:
    scenes = _scenes(60)
    wrong = []
    for scene in scenes:
        seen = geometry.read(draw(scene))
        if (seen.background, seen.colour, seen.position, seen.shape) != (
            scene.background,
            scene.colour,
            scene.position,
            scene.shape,
        ):
            wrong.append((scene, seen))
    assert not wrong


@pytest.mark.parametrize("shape", sorted(CONCEPTS))
def test_geometry_tells_a_concept_from_the_shapes_the_base_knows(shape: str) -> None:
    for scene in _scenes(10):
        assert geometry.read(draw(replace(scene, shape=shape))).shape == shape
        assert geometry.read(draw(scene)).shape != shape


def test_geometry_sees_no_object_where_there_is_none() -> None:
    blank = np.full((128, 128, 3), COLOURS["green"], dtype=np.uint8)
    seen = geometry.read(blank)
    assert (seen.background, seen.colour, seen.shape) == ("green", None, None)


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_a_caption_says_nothing_that_is_not_in_the_picture(seed: int) -> None:
    rng = random.Random(seed)
    scene = random_scene(rng)
    words = captions.vary(scene, rng).replace(",", " ").split()
    assert {word for word in words if word in COLOURS} <= {scene.colour, scene.background}
    assert {word for word in words if word in SHAPES} <= {scene.shape}
    assert "  " not in captions.vary(scene, rng)


def test_captions_leave_words_out_vary_their_order_and_make_words_up() -> None:
    scene = _scenes(1)[0]
    rng = random.Random(0)
    said = [captions.vary(scene, rng) for _ in range(300)]
    assert len(set(said)) > 100
    assert any(scene.colour not in caption for caption in said)
    assert any(scene.shape not in caption for caption in said)
    known = set(" ".join(captions.full(each) for each in _scenes(300)).split())
    assert sum(bool(set(caption.replace(",", "").split()) - known) for caption in said) > 30


def test_size_conditioning_tells_of_crops_and_of_enlarged_pictures() -> None:
    cropped, enlarged, whole = (example(0, index).time_ids for index in (0, 1, 2))
    assert cropped[0] > 128
    assert enlarged[0] < 128
    assert whole == (128, 128, 0, 0, 128, 128)
    assert all(picture(example(0, index)).shape == (128, 128, 3) for index in range(3))
