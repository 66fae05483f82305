"""Losses and noise, against values computed by hand."""

import pytest
import torch

from training.model.objective import draw_noise, squared_errors


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_errors_are_the_mean_of_each_image() -> None:
    predicted, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1] *= 3

    assert squared_errors(predicted, target).tolist() == [1, 9]


def test_masked_pixels_have_no_share_in_the_error() -> None:
    predicted, target = torch.zeros(2, 4, 2, 2), torch.zeros(2, 4, 2, 2)
    predicted[:, :, 0, 0] = 1.0
    elsewhere = torch.tensor([[0.0, 4.0], [0.0, 0.0]]).expand(2, 1, 2, 2)
    there = torch.tensor([[4.0, 0.0], [0.0, 0.0]]).expand(2, 1, 2, 2)

    assert squared_errors(predicted, target, elsewhere).tolist() == [0, 0]
    assert squared_errors(predicted, target, there).tolist() == pytest.approx([1.0, 1.0])
    assert squared_errors(predicted, target).tolist() == pytest.approx([0.25, 0.25])


def test_an_offset_shifts_each_channel_as_a_whole() -> None:
    like = torch.zeros(4, 64, 64)

    plain, shifted = draw_noise(like, 0.0, _generator()), draw_noise(like, 0.5, _generator())

    offsets = (shifted - plain).flatten(1)
    assert offsets.std(dim=1).max() < 1e-6
    assert len(set(offsets[:, 0].tolist())) == 4
