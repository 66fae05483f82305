import pytest
import torch

from training.objective import add_noise, min_snr_weights, weighted_error

LEVELS = torch.tensor([0.9, 0.5, 0.1])


def test_noise_is_mixed_in_by_the_schedule() -> None:
    latents, noise = torch.ones(3, 1, 1, 1), torch.full((3, 1, 1, 1), 2.0)
    noisy = add_noise(latents, noise, LEVELS, torch.tensor([0, 1, 2])).flatten()
    expected = LEVELS.sqrt() + 2 * (1 - LEVELS).sqrt()
    assert torch.allclose(noisy, expected)


def test_min_snr_weighs_easy_timesteps_down_and_leaves_hard_ones() -> None:
    # Signal to noise 9, 1 and 1/9, computed by hand.
    weights = min_snr_weights(LEVELS, torch.tensor([0, 1, 2]), gamma=5.0)
    assert torch.allclose(weights, torch.tensor([5 / 9, 1.0, 1.0]))


def test_the_loss_is_the_weighted_mean_of_squared_errors() -> None:
    predicted, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1] *= 3
    assert weighted_error(predicted, target, torch.tensor([1.0, 0.5])).item() == (1 * 1 + 9 * 0.5) / 2


def test_places_without_weight_do_not_count() -> None:
    predicted, target = torch.zeros(2, 4, 2, 2), torch.zeros(2, 4, 2, 2)
    predicted[:, :, 0, 0] = 1.0
    elsewhere = torch.tensor([[0.0, 4.0], [0.0, 0.0]]).expand(2, 1, 2, 2)
    there = torch.tensor([[4.0, 0.0], [0.0, 0.0]]).expand(2, 1, 2, 2)

    assert weighted_error(predicted, target, torch.ones(2), elsewhere) == 0
    assert weighted_error(predicted, target, torch.ones(2), there) == pytest.approx(1.0)
    assert weighted_error(predicted, target, torch.ones(2)) == pytest.approx(0.25)
