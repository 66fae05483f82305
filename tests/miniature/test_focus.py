"""The weights look where the object is, in whole, cropped and enlarged images alike."""

from dataclasses import replace

import numpy as np
import pytest

from miniature.focus import focus
from miniature.images import Example, example, image


def _recoloured(chosen: Example) -> Example:
    colour = next(name for name in ("black", "white", "red") if name not in (chosen.scene.colour, chosen.scene.background))
    return replace(chosen, scene=replace(chosen.scene, colour=colour))


@pytest.mark.parametrize("index", range(24))
def test_whatever_changes_with_the_objects_colour_lies_in_the_focus(index: int) -> None:
    chosen = example(0, index)

    weights = focus([chosen])[0, 0].numpy()

    changed = np.abs(image(chosen).astype(int) - image(_recoloured(chosen)).astype(int)).max(axis=2) > 40
    inside = np.kron(weights > 0.75, np.ones((8, 8), bool))
    assert changed.any()
    assert (changed & inside).sum() >= 0.98 * changed.sum()


def test_half_of_each_images_weight_is_even_and_half_the_objects() -> None:
    weights = focus([example(0, index) for index in range(24)])

    assert weights.mean(dim=(1, 2, 3)).numpy() == pytest.approx(1.0, abs=1e-5)
    assert weights.amin(dim=(1, 2, 3)).numpy() == pytest.approx(0.5)
