"""Qwen-Image with an adapter that makes few steps enough."""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from zthumb import families
from zthumb.diffusion import schedulers

QWEN_IMAGE = families.get("qwen_image")


def test_with_a_lightning_adapter_noise_levels_of_every_size_are_shifted_by_three() -> None:
    # Given the scheduler of the base
    (reference,) = QWEN_IMAGE.references
    base = FlowMatchEulerDiscreteScheduler.from_pretrained(reference / "scheduler")

    scheduler = schedulers.changed(base, QWEN_IMAGE.few_step_schedule)

    pipeline = type("Pipeline", (), {"scheduler": scheduler})()
    evenly = torch.arange(8, 0, -1) / 8
    for edge in (64, 166):
        QWEN_IMAGE.set_timesteps(pipeline, scheduler, 8, torch.zeros(1, 16, edge, edge))
        torch.testing.assert_close(scheduler.sigmas[:-1], 3 * evenly / (1 + 2 * evenly), rtol=1e-5, atol=1e-6)
    assert base.config.shift_terminal == 0.02
