"""What looking at held-out images finds, as it is logged and chosen by."""

from pydantic import Field

from foundation.config import Strict


class Interval(Strict):
    """A mean with its 95 % interval over images (Student's t); None for the bounds of a single image."""

    mean: float
    low: float | None
    high: float | None


class Stratum(Strict):
    """The loss around one timestep, and its change from the base's at the same noise (negative is better)."""

    timestep: int
    loss: Interval
    change: Interval


class Validation(Strict):
    """What one look at the held-out images found.

    ``loss`` and ``change`` are means over the strata, weighted as in training. ``gap`` is by how much more the loss fell on
    trained images than on held-out ones: what was learned by heart.
    """

    step: int = Field(ge=0)
    images: int
    loss: Interval
    change: Interval
    gap: float
    strata: tuple[Stratum, ...]
