"""Predictions that are extrapolated."""

from collections.abc import Sequence

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.guidance import Guidance
from zthumb.diffusion.guidance_schedule import GuidanceSchedule
from zthumb.diffusion.sampling import FixedConditioning, sample
from zthumb.diffusion.step_cache import StepCache, extrapolated_steps

STEPS = 12
EMPTY, PROMPT = (Conditioning({"prompt_embeds": (torch.full((1, 2), value),)}) for value in (0.0, 1.0))
UNGUIDED = Guidance(1.0)


class _Changing(FixedConditioning):
    def parts(self, step: int) -> Sequence[tuple[Conditioning, float]]:
        return [(PROMPT if step < 6 else EMPTY, 1.0)]

    def changes_at(self, step: int) -> bool:
        return step == 6


def _computed(every: int, guidance: Guidance = UNGUIDED, conditioning: FixedConditioning | None = None) -> list[int]:
    """The steps at which the denoiser is called."""
    scheduler, calls, step = EulerDiscreteScheduler(), list[int](), 0
    scheduler.set_timesteps(STEPS)

    def predict(noisy: Tensor, times: Tensor, given: Conditioning) -> Tensor:
        calls.append(step)
        return 0.1 * noisy

    def on_step(done: int, _: Tensor) -> None:
        nonlocal step
        step = done

    given = conditioning or FixedConditioning(PROMPT, EMPTY if guidance.is_used else None)
    sample(predict, scheduler, torch.ones(1, 1, 4, 4), given, STEPS, guidance, [torch.Generator()], on_step, every)
    return calls


def test_the_first_three_steps_one_of_so_many_and_the_last_are_computed() -> None:
    assert _computed(1) == list(range(12))
    assert _computed(2) == [0, 1, 2, 3, 5, 7, 9, 11]
    assert _computed(3) == [0, 1, 2, 3, 6, 9, 11]


@pytest.mark.parametrize(("steps", "every", "saved"), [(25, 1, 0), (5, 2, 0), (12, 2, 4), (25, 2, 10), (25, 3, 14), (2, 4, 0)])
def test_the_steps_that_are_saved_are_counted(steps: int, every: int, saved: int) -> None:
    assert extrapolated_steps(steps, every) == saved


def test_other_prompts_and_other_guidance_are_not_extrapolated_into() -> None:
    # After a change two are computed before one can be extrapolated.
    assert _computed(2, conditioning=_Changing(PROMPT, None)) == [0, 1, 2, 3, 5, 6, 7, 9, 11]
    interval = Guidance(5.0, schedule=GuidanceSchedule.parse("interval:0.5-1"))
    assert _computed(2, interval) == [0, 1, 2, 3, 5, 6, 7, 9, 11]


def test_a_prediction_is_on_the_line_through_the_last_two() -> None:
    cache = StepCache(2)
    for time, value in ((10.0, 1.0), (8.0, 2.0), (6.0, 4.0)):
        cache.add(time, torch.tensor([value]))

    assert cache.extrapolate(3, 12, 5.0) is None
    extrapolated = cache.extrapolate(4, 12, 5.0)
    assert extrapolated is not None
    assert extrapolated.tolist() == [5.0]
