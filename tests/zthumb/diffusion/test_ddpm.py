"""The DDPM process, against values computed by hand."""

import math

import pytest
import torch

from zthumb.diffusion.ddpm import DDPM
from zthumb.diffusion.process import TimeDistribution

ALPHAS = torch.tensor([0.9, 0.5, 0.1])
TIMES = torch.tensor([0, 1, 2])
EPSILON, VELOCITY = DDPM(ALPHAS, "epsilon"), DDPM(ALPHAS, "v_prediction")


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_noise_is_added_by_the_schedule() -> None:
    latents, noise = torch.ones(3, 1, 1, 1), torch.full((3, 1, 1, 1), 2.0)

    noisy = EPSILON.add_noise(latents, noise, TIMES).flatten()

    assert torch.allclose(noisy, ALPHAS.sqrt() + 2 * (1 - ALPHAS).sqrt())


def test_latents_follow_from_either_target() -> None:
    latents, noise = torch.randn(3, 2, 2, 2, generator=_generator()), torch.randn(3, 2, 2, 2, generator=_generator())
    noisy, alphas = EPSILON.add_noise(latents, noise, TIMES), ALPHAS.reshape(-1, 1, 1, 1)

    epsilon, velocity = (process.target(latents, noise, TIMES) for process in (EPSILON, VELOCITY))

    assert torch.allclose((noisy - (1 - alphas).sqrt() * epsilon) / alphas.sqrt(), latents, atol=1e-5)
    assert torch.allclose(alphas.sqrt() * noisy - (1 - alphas).sqrt() * velocity, latents, atol=1e-5)


def test_min_snr_lowers_the_weight_of_easy_timesteps_and_not_of_hard_ones() -> None:
    # Signal to noise 9, 1 and 1/9, computed by hand.
    assert torch.allclose(EPSILON.loss_weights(TIMES, 5.0), torch.tensor([5 / 9, 1.0, 1.0]))
    assert torch.allclose(VELOCITY.loss_weights(TIMES, 5.0), torch.tensor([5 / 10, 1 / 2, 1 / 10]))
    assert torch.equal(EPSILON.loss_weights(TIMES, None), torch.ones(3))


def test_strata_are_the_middles_of_equal_parts() -> None:
    assert DDPM(torch.linspace(0.99, 0.01, 1000), "epsilon").strata(4) == [125, 375, 625, 875]


def test_logit_normal_timesteps_gather_in_the_middle_and_stay_in_range() -> None:
    process, generator = DDPM(torch.linspace(0.99, 0.01, 1000), "epsilon"), _generator()
    even = [process.draw_time(TimeDistribution(), (8, 8), generator) for _ in range(2000)]
    middle = [process.draw_time(TimeDistribution("logit_normal"), (8, 8), generator) for _ in range(2000)]
    late = [process.draw_time(TimeDistribution("logit_normal", mean=50), (8, 8), generator) for _ in range(9)]

    def share(times: list[float]) -> float:
        return sum(250 <= time < 750 for time in times) / len(times)

    # A normal number lies within ±log 3 with probability erf(log 3 / √2).
    assert share(even) == pytest.approx(0.5, abs=0.05)
    assert share(middle) == pytest.approx(math.erf(math.log(3) / math.sqrt(2)), abs=0.05)
    assert set(late) == {999}
