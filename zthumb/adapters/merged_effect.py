"""How much of an adapter is left when it is merged into weights that are then rounded to their precision or to fewer bits.

An adapter that is not merged loses nothing: its own output is added to the layer's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LOG = logging.getLogger("zthumb")
_NOTICEABLE = 0.5
"""The rounding, relative to what the adapter adds, from which it is warned of: less turns the change by under 27°."""


class MergedEffect:
    """Compares what was to be added to weights with what was added, over all modules that are merged, or every so many of them.

    ``rounded`` returns what is left of a weight in float32 after it is stored as it will be.
    """

    def __init__(self, rounded: Callable[[Tensor], Tensor], every: int = 1) -> None:
        self._rounded, self._every, self._count = rounded, every, 0
        self._wanted, self._error = 0.0, 0.0

    def add(self, before: Tensor, merged: Tensor) -> None:
        """Measure one module, whose weight was ``before`` and is to be ``merged``, both float32."""
        if self._count % self._every == 0:
            change = merged - before
            stored = self._rounded(merged) - self._rounded(before)
            self._wanted += float(change.square().sum())
            self._error += float((stored - change).square().sum())
        self._count += 1

    @property
    def error(self) -> float:
        """The norm of what rounding adds, relative to that of what the adapter adds."""
        return sqrt(self._error / self._wanted) if self._wanted else 0.0

    @property
    def warning(self) -> str | None:
        """What to say of it; None while it is not noticeable."""
        if self.error < _NOTICEABLE:
            return None
        return (
            f"rounding the merged weights changes them by {self.error:.0%} of what the adapter does: much of it is lost. Store "
            "them in a higher precision or in more bits, or apply the adapter without merging it."
        )

    def warn(self, name: str) -> None:
        """Log the warning for the adapter called ``name``, if there is one."""
        if self.warning is not None:
            _LOG.warning("%s: %s", name, self.warning)
