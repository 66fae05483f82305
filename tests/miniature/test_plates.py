"""Plates with signs: what their captions name is what is drawn."""

import random

import numpy as np
import pytest

from miniature import chinese, plates, qwen_image, qwen_tokenizer
from miniature.drawing import draw
from miniature.glyphs import GLYPHS
from miniature.training_images import render
from miniature.world import COLOURS, Scene

PLATE = Scene("王", "red", "blue", "large", second="white")


def test_the_plain_captions_name_the_sign_in_quotes_and_every_colour() -> None:
    assert plates.full_caption(PLATE) == 'a photo of a red plate with a white "王" on a blue background'
    assert plates.full_caption_in_chinese(PLATE) == "一张照片，蓝色背景上的红色牌子，写着白色的“王”"


@pytest.mark.parametrize("caption", [plates.random_caption, plates.random_caption_in_chinese])
def test_random_captions_differ_and_always_name_the_sign(caption: plates.CaptionOf) -> None:
    rng = random.Random(0)
    drawn = {caption(PLATE, rng) for _ in range(100)}

    assert len(drawn) >= 4
    assert all("王" in text for text in drawn)


@pytest.mark.parametrize("caption", [plates.random_caption, plates.random_caption_in_chinese])
def test_every_word_of_the_captions_is_one_token(caption: plates.CaptionOf) -> None:
    tokenizer, rng = qwen_tokenizer.build(0, qwen_image.vocabulary()), random.Random(0)
    known = {*qwen_image.vocabulary(), *chinese.COLOURS.values(), '"', ",", "", "，"}
    for glyph in GLYPHS:
        text = caption(plates.random_plate(rng, glyph), rng)
        words = [tokenizer.decode([token]).strip() for token in tokenizer(text).input_ids]
        assert set(words) <= known, text


def test_a_plate_and_its_sign_are_drawn_in_the_colours_of_its_scene() -> None:
    for index in range(8):
        example = plates.draw_example(0, index)
        image = render(example).astype(int)
        for colour in (example.scene.colour, example.scene.second, example.scene.background):
            nearest = np.abs(image - np.array(COLOURS[colour])).sum(axis=2) < 90
            assert nearest.mean() > 0.015, (example.scene, colour)
        assert np.array_equal(image, draw(example.scene))


def test_examples_after_those_of_the_world_are_plates() -> None:
    material = qwen_image.material(images=10, signs=8)

    assert material.example(0, 9).scene.shape not in GLYPHS
    assert material.example(0, 10) == plates.draw_example(0, 0)
    # Each comes again after the last.
    assert material.example(0, 18) == plates.draw_example(0, 0)
    # Each of them is trained on, and no index is past the last.
    assert [material.whole(index) for index in range(10, 26)] == list(range(10, 26))
    assert material.whole(0) == 2
