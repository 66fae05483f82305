"""The readers ask for every attribute of a scene and are right when the embedding tells it."""

import random
from dataclasses import replace

import torch
from torch.nn.functional import one_hot

from miniature.reading import NOT_ASKED, Reader, answers, attributes
from miniature.world import random_scene, wide_scene


def test_answers_are_the_numbers_of_the_scenes_words() -> None:
    scenes = [random_scene(random.Random(number)) for number in range(20)]

    asked = answers(scenes)

    for scene, row in zip(scenes, asked.tolist(), strict=True):
        asked_of = zip(attributes().items(), row, strict=True)
        named = {name: words[number] for (name, words), number in asked_of if number != NOT_ASKED}
        assert named == {name: getattr(scene, name) for name in attributes() if name != "second"}


def test_of_a_name_that_comes_once_the_shape_is_not_asked_and_of_a_patterned_thing_both_colours_are() -> None:
    scene = replace(wide_scene(random.Random(1), "blorpfix"), fill="striped")

    asked = dict(zip(attributes(), answers([scene])[0].tolist(), strict=True))

    assert asked["shape"] == NOT_ASKED
    assert attributes()["second"][asked["second"]] == scene.second


def test_a_batch_of_which_nothing_is_asked_costs_nothing() -> None:
    reader = Reader(4)

    assert reader(torch.randn(3, 4), torch.full((3, len(attributes())), NOT_ASKED)) == 0


def test_an_embedding_that_tells_the_scene_is_read_and_one_that_tells_another_is_not() -> None:
    asked = answers([random_scene(random.Random(number)) for number in range(64)])
    widths = [len(words) for words in attributes().values()]
    columns = zip(asked.clamp(min=0).unbind(1), widths, strict=True)
    told = torch.cat([one_hot(column, width) for column, width in columns], dim=1).float()
    reader = Reader(sum(widths))
    with torch.no_grad():
        reader.layer.weight.copy_(20 * torch.eye(sum(widths)))
        reader.layer.bias.zero_()

    assert reader(told, asked) < 0.01
    assert reader(told.roll(1, dims=0), asked) > 1
