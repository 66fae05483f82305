"""Values for modules by PEFT's patterns (``rank_pattern``, ``alpha_pattern``); a file may have one pattern for every module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from foundation.errors import BadInput

_MAX_LENGTH, _MAX_SECONDS = 10_000, 0.5
_PLAIN = re.compile(r"[\w.]+")


class Patterns:
    """The value of the first pattern that matches the end of a path, as PEFT matches it.

    Most patterns are plain names, which are looked up; the others are regular expressions, compiled once. Raises ``BadInput``,
    whose message begins with ``source``, for a pattern that cannot be matched.
    """

    def __init__(self, values: Mapping[str, float], source: str) -> None:
        self._source = source
        self._plain = {pattern: (index, value) for index, (pattern, value) in enumerate(values.items()) if _is_plain(pattern)}
        others = [(index, pattern, value) for index, (pattern, value) in enumerate(values.items()) if not _is_plain(pattern)]
        self._others = [(index, pattern, self._compile(pattern), value) for index, pattern, value in others]

    def value_for(self, path: str, default: float | None) -> float | None:
        """Return the value for the module at ``path``, or ``default`` if no pattern matches."""
        levels = path.split(".")
        ends = (".".join(levels[start:]) for start in range(len(levels)))
        matches = [self._plain[end] for end in ends if end in self._plain]
        matches += [
            (index, value) for index, pattern, expression, value in self._others if self._is_match(pattern, expression, path)
        ]
        return min(matches)[1] if matches else default

    def _compile(self, pattern: str) -> Any:
        import regex

        try:
            # A pattern comes from an untrusted file, and some take forever to compile or to match.
            if len(pattern) > _MAX_LENGTH:
                raise TimeoutError
            return regex.compile(rf"(.*\.)?({pattern})$")
        except (regex.error, TimeoutError):
            raise self._refusal(pattern) from None

    def _is_match(self, pattern: str, expression: Any, path: str) -> bool:
        try:
            return expression.match(path, timeout=_MAX_SECONDS) is not None
        except TimeoutError:
            raise self._refusal(pattern) from None

    def _refusal(self, pattern: str) -> BadInput:
        return BadInput(f"{self._source}: pattern {pattern[:60]!r} is invalid or takes too long to match.")


def _is_plain(pattern: str) -> bool:
    return _PLAIN.fullmatch(pattern) is not None
