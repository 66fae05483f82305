"""Predictions that are extrapolated from earlier ones instead of computed.

After TaylorSeer (arXiv 2503.06923), which forecasts the features inside a denoiser. Here the prediction itself is forecast, to
first order: it takes no hook inside a model, works for UNets and transformers alike, and each image of a batch by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_FIRST = 3
"""Steps that are always computed: the image is laid out in them."""


def is_computed(step: int, steps: int, every: int) -> bool:
    """Whether the prediction at ``step``, from 0, of so many is computed if one of ``every`` is."""
    return step < _FIRST or step == steps - 1 or (step - _FIRST) % every == 0


def extrapolated_steps(steps: int, every: int) -> int:
    """Return at how many of ``steps`` nothing is computed."""
    return sum(not is_computed(step, steps, every) for step in range(steps))


class StepCache:
    """The last two computed predictions of an image, one of ``every``."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._computed: list[tuple[float, Tensor]] = []

    def extrapolate(self, step: int, steps: int, time: float) -> Tensor | None:
        """Return the prediction at a ``time`` on the line through the last two; None if it is to be computed."""
        if is_computed(step, steps, self._every) or len(self._computed) < 2:
            return None
        (first_time, first), (last_time, last) = self._computed
        return last + (last - first) * ((time - last_time) / (last_time - first_time))

    def add(self, time: float, prediction: Tensor) -> None:
        """Keep a computed prediction."""
        self._computed = [*self._computed[-1:], (time, prediction)]

    def forget(self) -> None:
        """Forget what was predicted for other prompts, or with other guidance."""
        self._computed = []
