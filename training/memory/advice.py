"""Suggest changes to a recipe that ran out of memory, by the estimate."""

from training.memory.changes import USABLE_FRACTION, PlannedRun, save_memory


def memory_advice(run: PlannedRun, available_bytes: int) -> str:
    """Return which changes would fit into ``available_bytes``; those that let the run resume are tried first."""
    _, needed = run.estimate({})
    message = f"out of memory: {available_bytes / 2**30:.1f} GiB are available, an estimated {needed.peak / 2**30:.1f} are needed"
    # At least one change is suggested: the run did not fit, whatever its estimate is.
    fitted = save_memory(run, min(int(USABLE_FRACTION * available_bytes), needed.peak - 1))
    smallest = fitted.needed.peak / 2**30
    if fitted.needed.peak > USABLE_FRACTION * available_bytes:
        return f"{message}, and still {smallest:.1f} with every setting that saves memory. Lower the resolution, or the rank."
    can_resume = fitted.recipe.resume_key(1) == run.recipe.resume_key(1)
    effect = (
        "and the run resumes from its last checkpoint"
        if can_resume
        else "and the run starts over, because these settings change the result"
    )
    return f"{message}. With {fitted.options} about {smallest:.1f} are needed, {effect}."
