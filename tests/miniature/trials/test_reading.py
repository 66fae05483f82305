"""The trial concepts are recognized in images that show them, and never in the plain world."""

import random

import numpy as np
import pytest

from miniature.drawing import draw as draw_scene
from miniature.trials.concepts import CONCEPTS, colour_pairs
from miniature.trials.drawing import draw
from miniature.trials.reading import read_concept
from miniature.world import SHAPES, random_scene

IMAGES = 20


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_drawn_concept_is_recognized_with_its_colours(name: str) -> None:
    rng = random.Random(name)
    readings = []
    for _ in range(IMAGES):
        colour, background = rng.choice(colour_pairs(CONCEPTS[name]))
        shape = rng.choice(SHAPES)
        readings.append(read_concept(draw(CONCEPTS[name], colour, background, shape, rng), name, colour, background, shape))

    assert np.mean([reading.shows_concept for reading in readings]) >= 0.95
    assert np.mean([reading.follows_prompt for reading in readings]) >= 0.9


@pytest.mark.parametrize("name", CONCEPTS)
def test_no_scene_of_the_plain_world_is_recognized_as_a_concept(name: str) -> None:
    scenes = [random_scene(random.Random(seed)) for seed in range(IMAGES)]

    assert not any(read_concept(draw_scene(s), name, s.colour, s.background, s.shape).shows_concept for s in scenes)
