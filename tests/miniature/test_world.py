import random
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniature import captions, geometry
from miniature.drawing import draw
from miniature.images import example, image
from miniature.invention import names, outline_of
from miniature.outlines import CONCEPTS, OUTLINES
from miniature.world import (
    COLOURS,
    FILLS,
    POSITIONS,
    SHAPES,
    SIZES,
    STYLES,
    Accidents,
    Scene,
    random_scene,
    wide_scene,
)


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


def test_the_base_is_taught_names_of_many_shapes_and_none_of_a_concept_it_is_tried_on() -> None:
    assert len(set(names())) >= 400
    assert not set(names()) & {*SHAPES, *CONCEPTS}
    assert outline_of(names()[0]) == outline_of(names()[0])
    assert len({outline_of(name) for name in names()}) == len(names())
    assert outline_of("star") == OUTLINES["star"]


@given(st.integers(0, 10**9), st.sampled_from([*SHAPES, "blorpfix"]))
@settings(max_examples=60, deadline=None)
@hypothesis.example(513717, "circle")
def test_a_scene_of_the_wide_world_is_drawn_whole_and_its_captions_are_true(seed: int, shape: str) -> None:
    rng = random.Random(seed)
    scene = wide_scene(rng, shape)
    words = captions.vary(scene, rng).replace(",", " ").split()
    colours = {scene.colour, scene.background} | ({scene.second} if scene.fill != "plain" else set())
    assert {word for word in words if word in COLOURS} <= colours
    assert {word for word in words if word in SHAPES} <= {scene.shape}
    assert {word for word in words if word in STYLES} <= {scene.medium}
    # All but a pixel's breadth: what the base was trained on is not drawn anew for that.
    assert abs(scene.accidents.offset[0]) + scene.accidents.radius < 65
    assert draw(scene).std() > 1


@pytest.mark.parametrize("fill", FILLS[1:])
def test_a_patterned_object_shows_both_its_colours(fill: str) -> None:
    accidents = Accidents(radius=40.0, fill_angle=45.0)
    scene = Scene("square", "red", "green", fill=fill, second="blue", medium="poster", accidents=accidents)
    seen = draw(scene).astype(int)
    for colour in ("red", "blue"):
        near = np.abs(seen - COLOURS[colour]).max(axis=2) < 30
        assert 0.1 < near.sum() / 70**2 < 0.9, colour


def test_no_two_styles_draw_alike() -> None:
    scene = Scene("star", "red", "green", accidents=Accidents(radius=40.0))
    drawn = [draw(replace(scene, medium=style)) for style in STYLES]
    for number, one in enumerate(drawn):
        assert all(np.abs(one.astype(int) - other).mean() > 1 for other in drawn[:number])


def test_a_scene_is_drawn_the_same_each_time() -> None:
    scene = _scenes(1)[0]
    assert np.array_equal(draw(scene), draw(scene))


def test_geometry_reads_true_images_without_a_mistake_in_a_hundred() -> None:
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


@pytest.mark.parametrize(("gap", "pieces"), [(8, 2), (30, 1)])
def test_geometry_takes_pieces_that_all_but_touch_for_one_object(gap: int, pieces: int) -> None:
    image = np.full((128, 128, 3), (30, 60, 200), np.float32)
    image[30:100, 30:50] = image[30:90, 50 + gap : 65 + gap] = (240, 240, 240)
    seen = geometry.object_mask(image)
    assert seen[40:80, 35:45].all()
    assert seen[40:80, 53 + gap : 62 + gap].all() == (pieces == 2)


def test_geometry_sees_no_object_where_there_is_none() -> None:
    blank = np.full((128, 128, 3), COLOURS["green"], dtype=np.uint8)
    seen = geometry.read(blank)
    assert (seen.background, seen.colour, seen.shape) == ("green", None, None)


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_a_caption_says_nothing_that_is_not_in_the_image(seed: int) -> None:
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
    known = set(captions.vocabulary())
    assert sum(bool(set(caption.replace(",", "").split()) - known) for caption in said) > 30


def test_size_conditioning_tells_of_crops_and_of_enlarged_images() -> None:
    cropped, enlarged, whole = (example(0, index).time_ids for index in (0, 1, 2))
    assert cropped[0] > 128
    assert enlarged[0] < 128
    assert whole == (128, 128, 0, 0, 128, 128)
    assert all(image(example(0, index)).shape == (128, 128, 3) for index in range(3))
