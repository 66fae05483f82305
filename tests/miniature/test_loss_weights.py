"""The loss weights cover the object in full, cropped and enlarged images alike."""

from dataclasses import replace

import numpy as np
import pytest

from miniature.loss_weights import object_loss_weights
from miniature.training_images import Example, draw_example, render


def _recolour(example: Example) -> Example:
    colour = next(name for name in ("black", "white", "red") if name not in (example.scene.colour, example.scene.background))
    return replace(example, scene=replace(example.scene, colour=colour))


@pytest.mark.parametrize("index", range(24))
def test_pixels_that_change_with_the_objects_colour_have_a_high_weight(index: int) -> None:
    example = draw_example(0, index)

    weights = object_loss_weights([example])[0, 0].numpy()

    changed = np.abs(render(example).astype(int) - render(_recolour(example)).astype(int)).max(axis=2) > 40
    inside = np.kron(weights > 0.75, np.ones((8, 8), bool))
    assert changed.any()
    assert (changed & inside).sum() >= 0.98 * changed.sum()


def test_half_of_each_images_weight_is_uniform_and_half_is_on_the_object() -> None:
    weights = object_loss_weights([draw_example(0, index) for index in range(24)])

    assert weights.mean(dim=(1, 2, 3)).numpy() == pytest.approx(1.0, abs=1e-5)
    assert weights.amin(dim=(1, 2, 3)).numpy() == pytest.approx(0.5)
