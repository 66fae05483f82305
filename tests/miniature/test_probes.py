"""The probes predict every attribute of a scene, and their loss is low exactly when the embedding contains the attributes."""

import random
from dataclasses import replace

import torch
from torch.nn.functional import one_hot

from miniature.glyphs import GLYPHS
from miniature.plates import random_plate
from miniature.probes import IGNORE_INDEX, AttributeProbe, attribute_labels, attribute_values
from miniature.world import random_scene, wide_scene


def test_labels_are_the_indices_of_the_scenes_attribute_values() -> None:
    scenes = [random_scene(random.Random(number)) for number in range(20)]

    labels = attribute_labels(scenes)

    for scene, row in zip(scenes, labels.tolist(), strict=True):
        labelled = zip(attribute_values().items(), row, strict=True)
        named = {name: values[index] for (name, values), index in labelled if index != IGNORE_INDEX}
        assert named == {name: getattr(scene, name) for name in attribute_values() if name != "second"}


def test_a_shape_name_that_occurs_once_has_no_label_and_a_patterned_object_has_labels_for_both_colours() -> None:
    scene = replace(wide_scene(random.Random(1), "blorpfix"), fill="striped")

    labels = dict(zip(attribute_values(), attribute_labels([scene])[0].tolist(), strict=True))

    assert labels["shape"] == IGNORE_INDEX
    assert attribute_values()["second"][labels["second"]] == scene.second


def test_the_sign_on_a_plate_is_a_shape_of_its_own_for_a_probe_that_knows_signs() -> None:
    signs = [random_plate(random.Random(0), glyph) for glyph in GLYPHS]
    labels = attribute_labels(signs)[:, list(attribute_values()).index("shape")].tolist()

    first = len(attribute_values()["shape"])
    assert labels == list(range(first, first + len(GLYPHS)))
    assert AttributeProbe(4, has_signs=True).value_counts[0] == first + len(GLYPHS)
    assert AttributeProbe(4).value_counts[0] == first


def test_a_batch_without_labels_has_a_loss_of_zero() -> None:
    probe = AttributeProbe(4)

    assert probe(torch.randn(3, 4), torch.full((3, len(attribute_values())), IGNORE_INDEX)) == 0


def test_the_loss_is_low_for_an_embedding_of_the_right_scene_and_high_for_one_of_another_scene() -> None:
    labels = attribute_labels([random_scene(random.Random(number)) for number in range(64)])
    value_counts = [len(values) for values in attribute_values().values()]
    columns = zip(labels.clamp(min=0).unbind(1), value_counts, strict=True)
    embedding = torch.cat([one_hot(column, count) for column, count in columns], dim=1).float()
    probe = AttributeProbe(sum(value_counts))
    with torch.no_grad():
        probe.layer.weight.copy_(20 * torch.eye(sum(value_counts)))
        probe.layer.bias.zero_()

    assert probe(embedding, labels) < 0.01
    assert probe(embedding.roll(1, dims=0), labels) > 1
