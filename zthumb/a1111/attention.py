"""Weights in prompts, as A1111 writes them.

``(more)`` counts 1.1 times, ``[less]`` 1 / 1.1 times, ``(this:1.4)`` 1.4 times, also one in the other; a backslash before a
bracket makes it one that is read. A bracket that is never closed reaches to the end, one that closes nothing is a character
like any. ``BREAK`` begins a new piece, in brackets too, whose weight goes on.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from zthumb.a1111 import schedule
from zthumb.prompts.base import MOST, PIECES, Malformed, check_weight

_STEP = 1.1
_MARK = re.compile(r"\\[()\[\]\\]|(?P<weight>:\s*(?P<number>[+-]?[.\d]+)\s*\))|[()\[\]]|(?P<break>\bBREAK\b)")


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt and how many times it counts."""

    text: str
    weight: float


Section = list[Fragment]


class _Reading:
    """The fragments read so far, those of all sections in one row, and the brackets that are open, by where each began."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        self.section_of: list[int] = []
        self.sections = 1
        self.round: list[int] = []
        self.square: list[int] = []

    def add(self, text: str) -> None:
        if text:
            self.fragments.append(Fragment(text, 1.0))
            self.section_of.append(self.sections - 1)

    def set_weights(self, start: int, factor: float, place: int) -> None:
        """Let what was read since ``start`` count ``factor`` times as much."""
        for fragment in self.fragments[start:]:
            check_weight(fragment.weight * factor, place, least=-MOST)
        self.fragments[start:] = [Fragment(each.text, each.weight * factor) for each in self.fragments[start:]]

    def weigh_unclosed(self, place: int) -> None:
        """Let brackets that were never closed count to the end, in one pass: a text may have thousands."""
        turns = Counter(self.round)
        turns.subtract(self.square)
        factor = 1.0
        for number, fragment in enumerate(self.fragments):
            factor *= _STEP ** turns[number]
            check_weight(fragment.weight * factor, place, least=-MOST)
            self.fragments[number] = Fragment(fragment.text, fragment.weight * factor)


def parse(text: str) -> list[Section]:
    """The fragments of each section, which ``BREAK`` separates.

    Raises ``Malformed`` for weights and numbers of sections that are not read, and for marks of ``schedule``, which must have
    been resolved before: what is read here is the text of one step and one part.
    """
    if (place := schedule.find(text)) is not None:
        raise Malformed(place, "changes from step to step or divides the prompt, which the text of one step does not")
    reading, place = _Reading(), 0
    for found in _MARK.finditer(text):
        reading.add(text[place : found.start()])
        place = found.end()
        _read_mark(reading, found)
    reading.add(text[place:])
    reading.weigh_unclosed(len(text) - 1)
    sections: list[Section] = [[] for _ in range(reading.sections)]
    for number, fragment in zip(reading.section_of, reading.fragments, strict=True):
        sections[number].append(fragment)
    return [_joined(section) for section in sections]


def _read_mark(reading: _Reading, found: re.Match[str]) -> None:
    mark = found[0]
    if mark.startswith("\\"):
        reading.add(mark[1])
    elif found["break"]:
        reading.sections += 1
        if reading.sections > PIECES:
            raise Malformed(found.start(), f"more than {PIECES} pieces")
    elif mark == "(":
        reading.round.append(len(reading.fragments))
    elif mark == "[":
        reading.square.append(len(reading.fragments))
    elif found["weight"] and reading.round:
        reading.set_weights(reading.round.pop(), _number(found), found.start("number"))
    elif mark == ")" and reading.round:
        reading.set_weights(reading.round.pop(), _STEP, found.start())
    elif mark == "]" and reading.square:
        reading.set_weights(reading.square.pop(), 1 / _STEP, found.start())
    else:
        reading.add(mark)


def _number(found: re.Match[str]) -> float:
    try:
        return float(found["number"])
    except ValueError:
        raise Malformed(found.start("number"), f"{found['number']!r} is no weight; write a number, as in (this:1.2)") from None


def _joined(section: Section) -> Section:
    """Neighbours of one weight as one, so that a word with a bracket in it stays one."""
    joined: Section = []
    for fragment in section:
        if joined and joined[-1].weight == fragment.weight:
            joined[-1] = Fragment(joined[-1].text + fragment.text, fragment.weight)
        else:
            joined.append(fragment)
    return joined
