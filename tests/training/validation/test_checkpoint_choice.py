"""The checkpoint that is exported is the one the recipe's rule names."""

import pytest

from tests.training.conftest import validation
from training.recipe import ValidationRecipe
from training.validation.checkpoint_choice import chosen_step, should_stop

LOOKS = [validation(step, loss) for step, loss in ((0, 0.1), (10, 0.5), (20, 0.3), (30, 0.4), (40, 0.3))]


def test_the_lowest_held_out_loss_wins_the_earlier_of_two_alike_and_the_base_is_no_candidate() -> None:
    assert chosen_step(LOOKS, last=40, rule=ValidationRecipe()) == 20


def test_the_last_is_taken_when_asked_for_or_when_nothing_was_held_out() -> None:
    assert chosen_step(LOOKS, last=40, rule=ValidationRecipe(choose="last")) == 40
    assert chosen_step([], last=40, rule=ValidationRecipe()) == 40


@pytest.mark.parametrize(("patience", "over_after"), [(1, 30), (2, 40), (3, None), (None, None)])
def test_training_is_over_after_so_many_looks_without_a_new_lowest(patience: int | None, over_after: int | None) -> None:
    rule = ValidationRecipe(patience=patience)

    ended = [look.step for number, look in enumerate(LOOKS) if should_stop(LOOKS[: number + 1], rule)]

    assert (ended[0] if ended else None) == over_after
