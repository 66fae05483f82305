"""The flow-matching process, against diffusers' scheduler of the same families."""

import math
from typing import Literal

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from zthumb.diffusion import schedulers
from zthumb.diffusion.flow_match import FlowMatch, ResolutionShift
from zthumb.diffusion.process import TimeDistribution


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_noise_is_added_as_the_scheduler_adds_it() -> None:
    latents, noise = torch.randn(3, 2, 4, 4, generator=_generator()), torch.randn(3, 2, 4, 4, generator=_generator())
    scheduler = FlowMatchEulerDiscreteScheduler()
    times = scheduler.timesteps[[10, 500, 999]]

    assert torch.allclose(FlowMatch().add_noise(latents, noise, times), scheduler.scale_noise(latents, times, noise), atol=1e-6)


def test_a_step_along_the_target_ends_at_the_latents() -> None:
    process, times = FlowMatch(), torch.tensor([250.0, 900.0])
    latents, noise = torch.randn(2, 2, 4, 4, generator=_generator()), torch.randn(2, 2, 4, 4, generator=_generator())
    sigmas = (times / 1000).reshape(-1, 1, 1, 1)

    end = process.add_noise(latents, noise, times) - sigmas * process.target(latents, noise, times)

    assert torch.allclose(end, latents, atol=1e-6)
    assert process.loss_weights(times, 5.0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
def test_times_stay_in_range_and_a_shift_moves_them_towards_noise(kind: Literal["uniform", "logit_normal"]) -> None:
    plain, shifted = (
        [FlowMatch().draw_time(distribution, (8, 8), generator) for generator in [_generator()] for _ in range(500)]
        for distribution in (TimeDistribution(kind), TimeDistribution(kind, shift=3.0))
    )

    assert all(0 < time <= 1000 for time in plain + shifted)
    # 3 σ / (1 + 2 σ) of each.
    assert shifted == pytest.approx([3000 * (time / 1000) / (1 + 2 * time / 1000) for time in plain])
    assert FlowMatch().strata(2) == [250, 750]


def test_larger_images_are_shifted_further_as_in_diffusers_pipelines() -> None:
    # Given the configuration of FLUX.1-dev
    shift = ResolutionShift.of(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config)

    for edge in (32, 96, 128, 256):
        tokens = (edge // 2) ** 2
        assert shift.log_shift(edge, edge) == calculate_shift(tokens)
    process, by_size = FlowMatch(shift), TimeDistribution(shift="resolution")
    small, large = (process.draw_time(by_size, (edge, edge), _generator()) for edge in (32, 128))
    assert small < large


def test_every_named_scheduler_begins_at_noise_and_keeps_the_shift_of_the_base() -> None:
    # Given a base whose shift is not diffusers' default
    base = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.9, max_shift=0.9)
    expected = [math.exp(0.9) / (math.exp(0.9) + 1 / sigma - 1) for sigma in (1, 0.75, 0.5, 0.25)]

    for name in schedulers.FLOW_NAMES:
        scheduler = schedulers.make(name, base)
        schedulers.set_flow_timesteps(scheduler, 4, torch.zeros(1, 4, 16, 16), ResolutionShift.of(base.config))
        # UniPC rounds its timesteps down.
        assert [float(time) / 1000 for time in scheduler.timesteps] == pytest.approx(expected, abs=2e-3), name
