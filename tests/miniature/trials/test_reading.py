"""The trial concepts are read as shown where they are drawn, and nowhere in the plain world."""

import random

import numpy as np
import pytest

from miniature.drawing import draw as draw_scene
from miniature.trials.concepts import CONCEPTS, colour_pairs
from miniature.trials.drawing import draw
from miniature.trials.reading import read
from miniature.world import SHAPES, random_scene

IMAGES = 20


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_true_image_is_read_as_the_concept_in_its_colours(name: str) -> None:
    rng = random.Random(name)
    seen = []
    for _ in range(IMAGES):
        colour, background = rng.choice(colour_pairs(CONCEPTS[name]))
        shape = rng.choice(SHAPES)
        seen.append(read(draw(CONCEPTS[name], colour, background, shape, rng), name, colour, background, shape))

    assert np.mean([each.shown for each in seen]) >= 0.95
    assert np.mean([each.followed for each in seen]) >= 0.9


@pytest.mark.parametrize("name", CONCEPTS)
def test_what_the_base_is_graded_in_is_none_of_the_concepts(name: str) -> None:
    scenes = [random_scene(random.Random(seed)) for seed in range(IMAGES)]

    assert not any(read(draw_scene(s), name, s.colour, s.background, s.shape).shown for s in scenes)
