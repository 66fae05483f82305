"""An exponential moving average of the adapter's weights, which is steadier than any single step's."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class EMA:
    """Averages ``parameters`` over about 1 / (1 - ``decay``) steps; with a decay of 0 there is no averaging."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self._steps = 0
        self._values = [parameter.detach().clone() for parameter in parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the parameters after a step."""
        self._steps += 1
        # The first averages are short, so that the untrained weights soon have no share in them.
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for value, parameter in zip(self._values, self._parameters, strict=False):
            value.lerp_(parameter.detach(), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the parameters inside the block."""
        if not self._values:
            yield
            return
        original = [parameter.detach().clone() for parameter in self._parameters]
        self._put(self._values)
        try:
            yield
        finally:
            self._put(original)

    def state(self) -> dict[str, object]:
        """Return what a checkpoint stores."""
        return {"steps": self._steps, "values": [value.cpu() for value in self._values]}

    def load_state(self, state: dict[str, object]) -> None:
        """Resume from what a checkpoint stores."""
        steps, values = state["steps"], state["values"]
        assert isinstance(steps, int)
        assert isinstance(values, list)
        self._steps = steps
        for value, stored in zip(self._values, values, strict=True):
            value.copy_(stored)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
