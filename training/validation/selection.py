"""Which checkpoint is the one, and when to stop looking: rules written in the recipe, applied to what validation found."""

from collections.abc import Sequence

from training.recipe import ValidationRecipe
from training.validation.validation import Validation


def lowest(looks: Sequence[Validation]) -> Validation | None:
    """The look with the lowest held-out loss, the earlier of two alike; the base itself (step 0) is no candidate."""
    trained = [look for look in looks if look.step > 0]
    return min(trained, key=lambda look: look.loss.mean, default=None)


def chosen_step(looks: Sequence[Validation], last: int, rule: ValidationRecipe) -> int:
    """The step whose checkpoint is exported; the ``last`` where nothing was held out."""
    best = lowest(looks) if rule.choose == "lowest" else None
    return best.step if best else last


def told(step: int, last: int, steps: int) -> str:
    """Why a run of at most ``steps`` ended after ``last``, and whose weights those of ``step`` are."""
    ended = "every step was made" if last == steps else f"it ended after {last} steps, as the held-out loss fell no more"
    return ended if step == last else f"{ended}; the weights are those of step {step}"


def is_over(looks: Sequence[Validation], rule: ValidationRecipe) -> bool:
    """Whether ``patience`` looks have passed since the lowest loss."""
    best = lowest(looks)
    if rule.patience is None or best is None:
        return False
    return sum(look.step > best.step for look in looks) >= rule.patience
