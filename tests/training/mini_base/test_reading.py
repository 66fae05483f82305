"""The readers ask for every attribute of a scene and are right when the embedding tells it."""

import random

import torch
from torch.nn.functional import one_hot

from training.mini_base.reading import ATTRIBUTES, Reader, answers
from training.mini_base.world import random_scene


def test_answers_are_the_numbers_of_the_scenes_words() -> None:
    scenes = [random_scene(random.Random(number)) for number in range(20)]

    asked = answers(scenes)

    for scene, row in zip(scenes, asked.tolist(), strict=True):
        named = {name: words[number] for (name, words), number in zip(ATTRIBUTES.items(), row, strict=True)}
        assert named == {name: getattr(scene, name) for name in ATTRIBUTES}


def test_an_embedding_that_tells_the_scene_is_read_and_one_that_tells_another_is_not() -> None:
    asked = answers([random_scene(random.Random(number)) for number in range(64)])
    widths = [len(words) for words in ATTRIBUTES.values()]
    told = torch.cat([one_hot(column, width) for column, width in zip(asked.unbind(1), widths, strict=True)], dim=1).float()
    reader = Reader(sum(widths))
    with torch.no_grad():
        reader.layer.weight.copy_(10 * torch.eye(sum(widths)))
        reader.layer.bias.zero_()

    assert reader(told, asked) < 0.01
    assert reader(told.roll(1, dims=0), asked) > 1
