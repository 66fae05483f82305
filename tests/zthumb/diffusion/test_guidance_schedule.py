"""Guidance that changes from step to step."""

import pytest

from zthumb.diffusion.guidance import Guidance, GuidanceBeyondPrompt
from zthumb.diffusion.guidance_schedule import GuidanceSchedule, check


@pytest.mark.parametrize("steps", [1, 4, 30, 49])
@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "low-high-low"])
def test_the_mean_of_a_schedule_is_the_scale_itself(name: str, steps: int) -> None:
    schedule = GuidanceSchedule.parse(name)

    factors = [schedule.factor(step, steps) for step in range(steps)]

    # An odd number of steps has one at the top of low-high-low.
    assert sum(factors) / steps == pytest.approx(1, abs=1 / steps if name == "low-high-low" else 1e-9)


def test_the_shapes_are_those_of_their_names() -> None:
    linear, cosine, middle = (GuidanceSchedule.parse(name) for name in ("linear", "cosine", "low-high-low"))

    assert [linear.factor(step, 4) for step in range(4)] == pytest.approx([0.25, 0.75, 1.25, 1.75])
    assert [cosine.factor(step, 2) for step in range(2)] == pytest.approx([0.2929, 1.7071], abs=1e-4)
    assert [middle.factor(step, 4) for step in range(4)] == pytest.approx([0.5, 1.5, 1.5, 0.5])


def test_an_interval_guides_in_full_inside_and_not_at_all_outside() -> None:
    schedule = GuidanceSchedule.parse("interval:0.25-0.75")

    assert [schedule.factor(step, 8) for step in range(8)] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert GuidanceSchedule.parse("interval").factor(0, 10) == 0


@pytest.mark.parametrize("text", ["quadratic", "interval:0.8-0.2", "interval:0.5", "interval:1-2", "", "Linear"])
def test_what_is_no_schedule_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"interval:0\.2-0\.9"):
        check(text)


def test_the_scale_changes_around_the_one_that_is_no_guidance() -> None:
    linear = GuidanceSchedule.parse("linear")

    assert [Guidance(5.0, schedule=linear).at(step, 2).scale for step in range(2)] == [3.0, 7.0]
    assert [GuidanceBeyondPrompt(4.0, schedule=linear).at(step, 2).scale for step in range(2)] == [2.0, 6.0]


def test_what_a_denoiser_is_told_has_a_schedule_of_its_own() -> None:
    guidance = Guidance(1.0, embedded=3.5, embedded_schedule=GuidanceSchedule.parse("interval:0.5-1"))

    assert [guidance.at(step, 4).embedded for step in range(4)] == [1.0, 1.0, 3.5, 3.5]
    assert guidance.at(0, 4).scale == 1


def test_steps_without_a_second_prediction_are_counted() -> None:
    interval = GuidanceSchedule.parse("interval:0.2-0.9")

    assert Guidance(5.0, schedule=interval).unguided_steps(20) == 6
    assert GuidanceBeyondPrompt(4.0, schedule=interval).unguided_steps(20) == 6
    # Without guidance there is nothing to save.
    assert Guidance(1.0, schedule=interval).unguided_steps(20) == 0
