import random
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniature import captions, geometry
from miniature.drawing import draw
from miniature.invention import invented_names, outline_of
from miniature.outlines import CONCEPTS, OUTLINES
from miniature.training_images import draw_example, render
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


def _random_scenes(count: int) -> list[Scene]:
    return [random_scene(random.Random(seed)) for seed in range(count)]


def test_the_world_has_the_documented_number_of_colours_shapes_sizes_and_positions() -> None:
    assert len(COLOURS) >= 10
    assert len(SHAPES) >= 8
    assert len(SIZES) >= 3
    assert len(POSITIONS) >= 5
    scenes = _random_scenes(300)
    assert {scene.medium for scene in scenes} == {"photo", "drawing"}
    assert {scene.texture for scene in scenes} == {"plain", "striped", "dotted", "checkered"}
    assert all(scene.colour != scene.background for scene in scenes)


def test_the_base_learns_the_names_of_many_shapes_and_of_no_concept() -> None:
    assert len(set(invented_names())) >= 400
    assert not set(invented_names()) & {*SHAPES, *CONCEPTS}
    assert outline_of(invented_names()[0]) == outline_of(invented_names()[0])
    assert len({outline_of(name) for name in invented_names()}) == len(invented_names())
    assert outline_of("star") == OUTLINES["star"]


@given(st.integers(0, 10**9), st.sampled_from([*SHAPES, "blorpfix"]))
@settings(max_examples=60, deadline=None)
@hypothesis.example(513717, "circle")
def test_a_scene_of_the_wide_world_fits_into_the_image_and_its_captions_are_true(seed: int, shape: str) -> None:
    rng = random.Random(seed)
    scene = wide_scene(rng, shape)
    words = captions.random_caption(scene, rng).replace(",", " ").split()
    colours = {scene.colour, scene.background} | ({scene.second} if scene.fill != "plain" else set())
    assert {word for word in words if word in COLOURS} <= colours
    assert {word for word in words if word in SHAPES} <= {scene.shape}
    assert {word for word in words if word in STYLES} <= {scene.medium}
    # The object may exceed the image by a pixel: the training images are not drawn again for that.
    assert abs(scene.accidents.offset[0]) + scene.accidents.radius < 65
    assert draw(scene).std() > 1


@pytest.mark.parametrize("fill", FILLS[1:])
def test_a_patterned_object_shows_both_its_colours(fill: str) -> None:
    accidents = Accidents(radius=40.0, fill_angle=45.0)
    scene = Scene("square", "red", "green", fill=fill, second="blue", medium="poster", accidents=accidents)
    image = draw(scene).astype(int)
    for colour in ("red", "blue"):
        near = np.abs(image - COLOURS[colour]).max(axis=2) < 30
        assert 0.1 < near.sum() / 70**2 < 0.9, colour


def test_no_two_styles_draw_the_same_image() -> None:
    scene = Scene("star", "red", "green", accidents=Accidents(radius=40.0))
    drawn = [draw(replace(scene, medium=style)) for style in STYLES]
    for number, image in enumerate(drawn):
        assert all(np.abs(image.astype(int) - earlier).mean() > 1 for earlier in drawn[:number])


def test_a_scene_is_drawn_the_same_each_time() -> None:
    scene = _random_scenes(1)[0]
    assert np.array_equal(draw(scene), draw(scene))


def test_geometry_reads_drawn_images_without_a_mistake() -> None:
    scenes = _random_scenes(60)
    wrong = []
    for scene in scenes:
        reading = geometry.read(draw(scene))
        if (reading.background, reading.colour, reading.position, reading.shape) != (
            scene.background,
            scene.colour,
            scene.position,
            scene.shape,
        ):
            wrong.append((scene, reading))
    assert not wrong


@pytest.mark.parametrize("shape", sorted(CONCEPTS))
def test_geometry_distinguishes_a_concept_from_the_shapes_the_base_knows(shape: str) -> None:
    for scene in _random_scenes(10):
        assert geometry.read(draw(replace(scene, shape=shape))).shape == shape
        assert geometry.read(draw(scene)).shape != shape


@pytest.mark.parametrize(("gap", "pieces"), [(8, 2), (30, 1)])
def test_geometry_reads_pieces_that_nearly_touch_as_one_object(gap: int, pieces: int) -> None:
    image = np.full((128, 128, 3), (30, 60, 200), np.float32)
    image[30:100, 30:50] = image[30:90, 50 + gap : 65 + gap] = (240, 240, 240)
    mask = geometry.object_mask(image)
    assert mask[40:80, 35:45].all()
    assert mask[40:80, 53 + gap : 62 + gap].all() == (pieces == 2)


def test_geometry_reads_no_object_in_a_blank_image() -> None:
    blank = np.full((128, 128, 3), COLOURS["green"], dtype=np.uint8)
    reading = geometry.read(blank)
    assert (reading.background, reading.colour, reading.shape) == ("green", None, None)


@given(st.integers(0, 10**9))
@settings(max_examples=100)
def test_a_caption_mentions_nothing_that_is_not_in_the_image(seed: int) -> None:
    rng = random.Random(seed)
    scene = random_scene(rng)
    words = captions.random_caption(scene, rng).replace(",", " ").split()
    assert {word for word in words if word in COLOURS} <= {scene.colour, scene.background}
    assert {word for word in words if word in SHAPES} <= {scene.shape}
    assert "  " not in captions.random_caption(scene, rng)


def test_captions_omit_words_vary_their_order_and_contain_made_up_words() -> None:
    scene = _random_scenes(1)[0]
    rng = random.Random(0)
    drawn = [captions.random_caption(scene, rng) for _ in range(300)]
    assert len(set(drawn)) > 100
    assert any(scene.colour not in caption for caption in drawn)
    assert any(scene.shape not in caption for caption in drawn)
    vocabulary = set(captions.vocabulary())
    assert sum(bool(set(caption.replace(",", "").split()) - vocabulary) for caption in drawn) > 30


def test_size_conditioning_describes_crops_and_enlarged_images() -> None:
    cropped, enlarged, full_size = (draw_example(0, index).time_ids for index in (0, 1, 2))
    assert cropped[0] > 128
    assert enlarged[0] < 128
    assert full_size == (128, 128, 0, 0, 128, 128)
    assert all(render(draw_example(0, index)).shape == (128, 128, 3) for index in range(3))
