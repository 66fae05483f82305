"""The results of validation, as they are logged and checkpoints are chosen by them."""

from pydantic import Field

from foundation.config import Strict


class Interval(Strict):
    """A mean with its 95 % interval over images (Student's t); the bounds are None for a single image."""

    mean: float
    low: float | None
    high: float | None


class Stratum(Strict):
    """The loss around one timestep, and its change from the base's at the same noise (negative is better)."""

    timestep: int
    loss: Interval
    change: Interval


class Validation(Strict):
    """The result of one validation on the held-out images.

    ``loss`` and ``change`` are means over the strata, weighted as in training. ``gap`` is by how much more the loss fell on
    trained images than on held-out ones, through memorization.
    """

    step: int = Field(ge=0)
    images: int
    loss: Interval
    change: Interval
    gap: float
    strata: tuple[Stratum, ...]
