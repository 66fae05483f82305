import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.model.lr_schedule import lr_at
from training.recipe import OptimizerRecipe


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_then_goes_its_way_down(schedule: str, expected: list[float]) -> None:
    recipe = OptimizerRecipe.model_validate({"lr": 1.0, "warmup_steps": 2, "schedule": schedule})

    assert [lr_at(step, 6, recipe) for step in range(6)] == pytest.approx(expected, abs=1e-6)


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(0, 50), st.integers(1, 200))
def test_every_step_learns_something_and_none_more_than_the_rate(schedule: str, warm_up: int, steps: int) -> None:
    recipe = OptimizerRecipe.model_validate({"lr": 1e-3, "warmup_steps": warm_up, "schedule": schedule})

    assert all(0 < lr_at(step, steps, recipe) <= 1e-3 for step in range(steps))
