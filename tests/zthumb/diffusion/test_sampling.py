"""From noise to latents: which predictions a step takes."""

from collections.abc import Sequence

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.guidance import Guidance
from zthumb.diffusion.guidance_schedule import GuidanceSchedule
from zthumb.diffusion.sampling import FixedConditioning, sample

STEPS = 4
EMPTY, PROMPT = (Conditioning({"prompt_embeds": (torch.full((1, 2), value),)}) for value in (0.0, 1.0))
WHOLE = FixedConditioning(PROMPT, EMPTY)


class _Parts(FixedConditioning):
    def parts(self, step: int) -> Sequence[tuple[Conditioning, float]]:
        return [(PROMPT, 1.0), (PROMPT, 0.5)]


def _batches(guidance: Guidance, conditioning: FixedConditioning = WHOLE) -> list[int]:
    """The sizes of the batches that are predicted."""
    batches = []

    def predict(noisy: Tensor, times: Tensor, given: Conditioning) -> Tensor:
        assert len(noisy) == len(times) == len(given)
        batches.append(len(noisy))
        return 0.1 * noisy

    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    sample(predict, scheduler, torch.ones(1, 1, 4, 4), conditioning, STEPS, guidance, [torch.Generator()])
    return batches


def test_a_second_prediction_is_made_only_where_a_step_is_guided() -> None:
    assert _batches(Guidance(5.0)) == [2, 2, 2, 2]
    assert _batches(Guidance(5.0, schedule=GuidanceSchedule.parse("interval:0.25-0.75"))) == [1, 2, 2, 1]
    assert _batches(Guidance(5.0, schedule=GuidanceSchedule.parse("linear"))) == [2, 2, 2, 2]


def test_parts_of_a_prompt_count_from_the_prediction_without_it_whether_guided_or_not() -> None:
    interval = Guidance(5.0, schedule=GuidanceSchedule.parse("interval:0.5-1"))

    assert _batches(interval, _Parts(PROMPT, EMPTY)) == [2, 1] * STEPS


@pytest.mark.parametrize("name", ["constant", "interval:0-1"])
def test_a_schedule_that_changes_nothing_gives_the_same_bits(name: str) -> None:
    latents = []
    for guidance in (Guidance(5.0), Guidance(5.0, schedule=GuidanceSchedule.parse(name))):
        scheduler = EulerDiscreteScheduler()
        scheduler.set_timesteps(STEPS)
        noise = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))

        def predict(noisy: Tensor, _: Tensor, given: Conditioning) -> Tensor:
            return noisy * torch.stack([embeds.sum() for embeds in given.tensors["prompt_embeds"]])[:, None, None, None]

        latents.append(sample(predict, scheduler, noise, WHOLE, STEPS, guidance, [torch.Generator()]))

    assert torch.equal(*latents)
