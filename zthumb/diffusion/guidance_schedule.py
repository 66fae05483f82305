"""How strongly an image is guided at each step: a factor that changes on the way from noise to the image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

UNCHANGED, _INTERVAL_NAME = "constant", "interval"
"""The name of the schedule that changes nothing, and of the one with a range."""
_SHAPES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        UNCHANGED: lambda _: 1.0,
        # The mean of each of these is 1, so that the scale means what it does elsewhere.
        "linear": lambda done: 2 * done,
        "cosine": lambda done: 1 - math.cos(math.pi * done),
        "low-high-low": lambda done: 2 * (1 - abs(2 * done - 1)),
    }
)
_INTERVAL = re.compile(rf"{_INTERVAL_NAME}(?::(0|1|0?\.\d+|1\.0+)-(0|1|0?\.\d+|1\.0+))?")
_USUAL_INTERVAL = (0.2, 0.9)


@dataclass(frozen=True)
class GuidanceSchedule:
    """The factor of the guidance at each step, by name.

    ``linear`` and ``cosine`` guide more and more (arXiv 2404.13040, section 4), ``low-high-low`` most in the middle, ``interval``
    in full from the share ``first`` of the steps to the share ``last``, and elsewhere not at all (arXiv 2404.07724).
    """

    name: str = UNCHANGED
    first: float = 0.0
    last: float = 1.0

    @classmethod
    def parse(cls, text: str) -> GuidanceSchedule:
        """Return the schedule that ``text`` names; ``ValueError`` says which there are."""
        if text in _SHAPES:
            return cls(text)
        match = _INTERVAL.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no guidance schedule: there are {', '.join(_SHAPES)}, and interval:0.2-0.9")
        first, last = (float(match[1]), float(match[2])) if match[1] else _USUAL_INTERVAL
        if first >= last:
            raise ValueError(f"{text!r}: an interval begins before it ends, as interval:0.2-0.9")
        return cls(_INTERVAL_NAME, first, last)

    def factor(self, step: int, steps: int) -> float:
        """Return the factor at ``step``, from 0, of so many ``steps``."""
        # The middle of a step: neither end is left out.
        done = (step + 0.5) / steps
        if self.name == _INTERVAL_NAME:
            return 1.0 if self.first <= done < self.last else 0.0
        return _SHAPES[self.name](done)


CONSTANT = GuidanceSchedule()
"""The guidance scale itself at each step."""


def check(text: str) -> str:
    """Return ``text`` if it names a schedule; ``ValueError`` says which there are."""
    GuidanceSchedule.parse(text)
    return text
