"""Which checkpoint is exported, and when training stops early: the recipe's rules, applied to validations."""

from collections.abc import Sequence

from training.recipe import ValidationRecipe
from training.validation.records import Validation


def lowest_loss(validations: Sequence[Validation]) -> Validation | None:
    """Return the validation with the lowest held-out loss, the earlier of two equal ones; the base (step 0) is no candidate."""
    trained = [validation for validation in validations if validation.step > 0]
    return min(trained, key=lambda validation: validation.loss.mean, default=None)


def chosen_step(validations: Sequence[Validation], last: int, rule: ValidationRecipe) -> int:
    """Return the step whose checkpoint is exported; the ``last`` if no image was held out."""
    best = lowest_loss(validations) if rule.choose == "lowest" else None
    return best.step if best else last


def describe_end(step: int, last: int, steps: int) -> str:
    """Return why a run of at most ``steps`` ended after ``last``, and that the weights are those of ``step``."""
    ended = "every step was made" if last == steps else f"it ended after {last} steps, as the held-out loss fell no more"
    return ended if step == last else f"{ended}; the weights are those of step {step}"


def should_stop(validations: Sequence[Validation], rule: ValidationRecipe) -> bool:
    """Whether ``patience`` validations have passed since the lowest loss."""
    best = lowest_loss(validations)
    if rule.patience is None or best is None:
        return False
    return sum(validation.step > best.step for validation in validations) >= rule.patience
