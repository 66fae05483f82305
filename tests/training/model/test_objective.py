"""The objectives, against values computed by hand."""

import math

import pytest
import torch

from training.model.objective import add_noise, draw_noise, draw_timestep, loss_weights, squared_errors, target
from training.recipe import ObjectiveRecipe

LEVELS = torch.tensor([0.9, 0.5, 0.1])
TIMESTEPS = torch.tensor([0, 1, 2])


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_noise_is_mixed_in_by_the_schedule() -> None:
    latents, noise = torch.ones(3, 1, 1, 1), torch.full((3, 1, 1, 1), 2.0)
    noisy = add_noise(latents, noise, LEVELS, TIMESTEPS).flatten()
    expected = LEVELS.sqrt() + 2 * (1 - LEVELS).sqrt()
    assert torch.allclose(noisy, expected)


def test_noise_or_velocity_is_what_gives_the_latents_back() -> None:
    latents, noise = torch.randn(3, 2, 2, 2, generator=_generator()), torch.randn(3, 2, 2, 2, generator=_generator())
    noisy, kept = add_noise(latents, noise, LEVELS, TIMESTEPS), LEVELS.reshape(-1, 1, 1, 1)

    epsilon = target("epsilon", latents, noise, LEVELS, TIMESTEPS)
    velocity = target("v_prediction", latents, noise, LEVELS, TIMESTEPS)

    assert torch.allclose((noisy - (1 - kept).sqrt() * epsilon) / kept.sqrt(), latents, atol=1e-5)
    assert torch.allclose(kept.sqrt() * noisy - (1 - kept).sqrt() * velocity, latents, atol=1e-5)


def test_min_snr_weighs_easy_timesteps_down_and_leaves_hard_ones() -> None:
    # Signal to noise 9, 1 and 1/9, computed by hand.
    assert torch.allclose(loss_weights("epsilon", LEVELS, TIMESTEPS, 5.0), torch.tensor([5 / 9, 1.0, 1.0]))
    assert torch.allclose(loss_weights("v_prediction", LEVELS, TIMESTEPS, 5.0), torch.tensor([5 / 10, 1 / 2, 1 / 10]))
    assert torch.equal(loss_weights("epsilon", LEVELS, TIMESTEPS, None), torch.ones(3))


def test_errors_are_the_mean_of_each_image() -> None:
    predicted, wanted = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    wanted[1] *= 3
    assert squared_errors(predicted, wanted).tolist() == [1, 9]


def test_places_without_weight_do_not_count() -> None:
    predicted, wanted = torch.zeros(2, 4, 2, 2), torch.zeros(2, 4, 2, 2)
    predicted[:, :, 0, 0] = 1.0
    elsewhere = torch.tensor([[0.0, 4.0], [0.0, 0.0]]).expand(2, 1, 2, 2)
    there = torch.tensor([[4.0, 0.0], [0.0, 0.0]]).expand(2, 1, 2, 2)

    assert squared_errors(predicted, wanted, elsewhere).tolist() == [0, 0]
    assert squared_errors(predicted, wanted, there).tolist() == pytest.approx([1.0, 1.0])
    assert squared_errors(predicted, wanted).tolist() == pytest.approx([0.25, 0.25])


def test_an_offset_shifts_each_channel_as_a_whole() -> None:
    like = torch.zeros(4, 64, 64)

    plain, shifted = draw_noise(like, 0.0, _generator()), draw_noise(like, 0.5, _generator())

    moved = (shifted - plain).flatten(1)
    assert moved.std(dim=1).max() < 1e-6
    assert len(set(moved[:, 0].tolist())) == 4


def test_logit_normal_timesteps_gather_in_the_middle_and_stay_in_range() -> None:
    generator = _generator()
    even = [draw_timestep(ObjectiveRecipe(), 1000, generator) for _ in range(2000)]
    middle = [draw_timestep(ObjectiveRecipe(timesteps="logit_normal"), 1000, generator) for _ in range(2000)]
    late = [draw_timestep(ObjectiveRecipe(timesteps="logit_normal", timestep_mean=50), 1000, generator) for _ in range(9)]

    def share(drawn: list[int]) -> float:
        return sum(250 <= timestep < 750 for timestep in drawn) / len(drawn)

    # A normal number lies within ±log 3 with probability erf(log 3 / √2).
    assert share(even) == pytest.approx(0.5, abs=0.05)
    assert share(middle) == pytest.approx(math.erf(math.log(3) / math.sqrt(2)), abs=0.05)
    assert set(late) == {999}
