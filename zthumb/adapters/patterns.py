"""Values for modules by PEFT's patterns (``rank_pattern``, ``alpha_pattern``), of which a file may have one for every module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from foundation.errors import BadInput

_LONGEST, _SECONDS = 10_000, 0.5
_PLAIN = re.compile(r"[\w.]+")


class Patterns:
    """The value of the first pattern that is the end of a path, as PEFT looks for it.

    Most are plain names, which are looked up; the others are regular expressions, read once. Raises ``BadInput``, which begins
    with ``where``, for one that cannot be looked for.
    """

    def __init__(self, values: Mapping[str, float], where: str) -> None:
        self._where = where
        self._plain = {pattern: (place, value) for place, (pattern, value) in enumerate(values.items()) if _is_plain(pattern)}
        others = [(place, pattern, value) for place, (pattern, value) in enumerate(values.items()) if not _is_plain(pattern)]
        self._others = [(place, pattern, self._read(pattern), value) for place, pattern, value in others]

    def of(self, path: str, usual: float | None) -> float | None:
        """The value for the module at ``path``, or the ``usual`` one."""
        parts = path.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        found = [self._plain[end] for end in ends if end in self._plain]
        found += [(place, value) for place, pattern, read, value in self._others if self._matches(pattern, read, path)]
        return min(found)[1] if found else usual

    def _read(self, pattern: str) -> Any:
        import regex

        try:
            # A pattern comes from elsewhere, and some take for ever, to be read or to be looked for.
            if len(pattern) > _LONGEST:
                raise TimeoutError
            return regex.compile(rf"(.*\.)?({pattern})$")
        except (regex.error, TimeoutError):
            raise self._not_looked_for(pattern) from None

    def _matches(self, pattern: str, read: Any, path: str) -> bool:
        try:
            return read.match(path, timeout=_SECONDS) is not None
        except TimeoutError:
            raise self._not_looked_for(pattern) from None

    def _not_looked_for(self, pattern: str) -> BadInput:
        return BadInput(f"{self._where}: pattern {pattern[:60]!r} is none that can be looked for.")


def _is_plain(pattern: str) -> bool:
    return _PLAIN.fullmatch(pattern) is not None
