"""Weights in prompts, in A1111's syntax.

``(more)`` weighs 1.1, ``[less]`` 1 / 1.1, ``(this:1.4)`` 1.4; nested weights multiply. A backslash before a bracket makes it a
literal character. A bracket that is never closed extends to the end, and a closing one without an opening one is a literal
character. ``BREAK`` starts a new section, also inside brackets, whose weight continues in it.
"""

from __future__ import annotations

import re
from collections import Counter

from zthumb.generation.grammar import schedule
from zthumb.generation.prompts.base import MAX_TOKEN_WEIGHT, PIECES, Fragment, Malformed, check_weight

_STEP = 1.1
_MARK = re.compile(r"\\[()\[\]\\]|(?P<weight>:\s*(?P<number>[+-]?[.\d]+)\s*\))|[()\[\]]|(?P<break>\bBREAK\b)")


Section = list[Fragment]


class _State:
    """The fragments parsed so far, of all sections in one list, and the index of the first fragment in each open bracket."""

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

    def scale_weights(self, start: int, factor: float, position: int) -> None:
        """Multiply the weights of the fragments since ``start`` by ``factor``."""
        for fragment in self.fragments[start:]:
            check_weight(fragment.weight * factor, position, least=-MAX_TOKEN_WEIGHT)
        self.fragments[start:] = [Fragment(fragment.text, fragment.weight * factor) for fragment in self.fragments[start:]]

    def weigh_unclosed(self, position: int) -> None:
        """Apply brackets that were never closed up to the end, in one pass: a text may have thousands."""
        changes = Counter(self.round)
        changes.subtract(self.square)
        factor = 1.0
        for index, fragment in enumerate(self.fragments):
            factor *= _STEP ** changes[index]
            check_weight(fragment.weight * factor, position, least=-MAX_TOKEN_WEIGHT)
            self.fragments[index] = Fragment(fragment.text, fragment.weight * factor)


def parse(text: str) -> list[Section]:
    """Return the fragments of each section; ``BREAK`` separates sections.

    Raises ``Malformed`` for unsupported weights, for too many sections, and for syntax of ``schedule``, which must have been
    resolved before: this parses the text of one step and one part.
    """
    if (position := schedule.find(text)) is not None:
        raise Malformed(position, "changes from step to step or divides the prompt, which the text of one step cannot do")
    state, position = _State(), 0
    for match in _MARK.finditer(text):
        state.add(text[position : match.start()])
        position = match.end()
        _apply_mark(state, match)
    state.add(text[position:])
    state.weigh_unclosed(len(text) - 1)
    sections: list[Section] = [[] for _ in range(state.sections)]
    for index, fragment in zip(state.section_of, state.fragments, strict=True):
        sections[index].append(fragment)
    return [_join(section) for section in sections]


def _apply_mark(state: _State, match: re.Match[str]) -> None:
    mark = match[0]
    if mark.startswith("\\"):
        state.add(mark[1])
    elif match["break"]:
        state.sections += 1
        if state.sections > PIECES:
            raise Malformed(match.start(), f"more than {PIECES} pieces")
    elif mark == "(":
        state.round.append(len(state.fragments))
    elif mark == "[":
        state.square.append(len(state.fragments))
    elif match["weight"] and state.round:
        state.scale_weights(state.round.pop(), _number(match), match.start("number"))
    elif mark == ")" and state.round:
        state.scale_weights(state.round.pop(), _STEP, match.start())
    elif mark == "]" and state.square:
        state.scale_weights(state.square.pop(), 1 / _STEP, match.start())
    else:
        state.add(mark)


def _number(match: re.Match[str]) -> float:
    try:
        return float(match["number"])
    except ValueError:
        raise Malformed(match.start("number"), f"{match['number']!r} is not a weight; write a number, as in (this:1.2)") from None


def _join(section: Section) -> Section:
    """Join neighbouring fragments of the same weight, so that a word with a bracket in it stays one word."""
    joined: Section = []
    for fragment in section:
        if joined and joined[-1].weight == fragment.weight:
            joined[-1] = Fragment(joined[-1].text + fragment.text, fragment.weight)
        else:
            joined.append(fragment)
    return joined
