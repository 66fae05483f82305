"""Captions in Chinese: what they name is what the scene has, in words that are all known."""

import random

from miniature import chinese
from miniature.training_images import draw_example
from miniature.world import Scene


def test_the_plain_caption_names_every_attribute() -> None:
    scene = Scene("star", "red", "blue", "large", "left", medium="drawing")

    assert chinese.full_caption(scene) == "一张图画，蓝色背景上的大的红色星星，在左边"


def test_two_colours_are_named_with_their_pattern() -> None:
    assert "一半红色一半白色的心形" in chinese.full_caption(Scene("heart", "red", "blue", fill="halved"))
    assert "红色和白色条纹的心形" in chinese.full_caption(Scene("heart", "red", "blue", fill="striped"))


def test_random_captions_consist_of_known_words_and_names() -> None:
    rng = random.Random(0)
    words = sorted(chinese.vocabulary(), key=len, reverse=True)
    for index in range(300):
        scene = draw_example(0, index).scene
        rest = chinese.random_caption(scene, rng).replace(scene.shape, "")
        for word in words:
            rest = rest.replace(word, "")
        assert rest == "", scene


def test_captions_differ_and_leave_out_the_usual_more_often() -> None:
    usual, rng = Scene("star", "red", "blue"), random.Random(0)
    captions = [chinese.random_caption(usual, rng) for _ in range(400)]

    assert len(set(captions)) > 40
    assert 0.4 < sum("中等的" in caption for caption in captions) / 400 < 0.8
    assert all("星星" in caption for caption in captions)
