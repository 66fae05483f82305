"""Prompts that change from step to step, as A1111 writes them, and prompts of several parts.

``[a:b:0.5]`` is ``a`` for the first half of the steps and ``b`` after it, ``[a:0.5]`` adds and ``[a::0.5]`` takes away; a number
with a point is a share of the steps, one without is a step. ``[a|b]`` takes turns. ``a AND b :0.8`` is each part by itself, with
a weight for each (https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features). Brackets that say none of this stay as
they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zthumb.prompts.base import Malformed, Part

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r":\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*$")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*")
_OPENING, _CLOSING = "([", {")": "(", "]": "["}
_DEEPEST, _MOST_PARTS = 50, 8


@dataclass(frozen=True)
class _Bracket:
    """A pair of square brackets in a text, from ``start`` to ``end``, and where its text is divided, with what."""

    start: int
    end: int
    colons: tuple[int, ...]
    bars: tuple[int, ...]


def parts_of(text: str, steps: int) -> tuple[Part, ...]:
    """The parts of a prompt at each of ``steps`` steps; ``Malformed`` where there are more parts or brackets than are read."""
    pieces = _AND.split(text)
    if len(pieces) > _MOST_PARTS:
        raise Malformed(text.index("AND"), f"more than {_MOST_PARTS} parts with AND between")
    if len(pieces) == 1:
        return (Part(1.0, _at_steps(text, steps)),)
    return tuple(_part(piece, steps) for piece in pieces)


def find(text: str) -> int | None:
    """The first character of a mark that changes a prompt from step to step or divides it; None where there is none."""
    divided = _AND.search(text)
    places = [bracket.start for bracket in _brackets(text) if _says(bracket, text)]
    return min([*places, *([divided.start()] if divided else [])], default=None)


def _part(piece: str, steps: int) -> Part:
    weight = _PART_WEIGHT.search(piece)
    text = piece[: weight.start()] if weight else piece
    return Part(float(weight[1]) if weight else 1.0, _at_steps(text.strip(), steps))


def _at_steps(text: str, steps: int) -> tuple[str, ...]:
    if not any(_says(bracket, text) for bracket in _brackets(text)):
        return (text,) * steps
    return tuple(_at(text, step, steps) for step in range(1, steps + 1))


def _at(text: str, step: int, steps: int) -> str:
    """The text at a ``step``, counted from 1."""
    written, place = "", 0
    for bracket in _outermost([each for each in _brackets(text) if _says(each, text)]):
        written += text[place : bracket.start] + _at(_chosen(bracket, text, step, steps), step, steps)
        place = bracket.end + 1
    return written + text[place:]


def _chosen(bracket: _Bracket, text: str, step: int, steps: int) -> str:
    """What a pair of brackets is at a step."""
    if bracket.bars:
        options = _divided(bracket, bracket.bars, text)
        return options[(step - 1) % len(options)]
    *texts, when = _divided(bracket, bracket.colons, text)
    before, after = texts if len(texts) == 2 else ("", texts[0])
    last = float(when) * steps if "." in when else float(when)
    return before if step <= int(last) else after


def _divided(bracket: _Bracket, places: Sequence[int], text: str) -> list[str]:
    ends = [bracket.start, *places, bracket.end]
    return [text[start + 1 : end] for start, end in pairwise(ends)]


def _says(bracket: _Bracket, text: str) -> bool:
    """Whether a pair of brackets changes from step to step."""
    if bracket.bars:
        return not bracket.colons
    return 1 <= len(bracket.colons) <= 2 and bool(_NUMBER.fullmatch(text, bracket.colons[-1] + 1, bracket.end))


def _outermost(brackets: Sequence[_Bracket]) -> list[_Bracket]:
    found: list[_Bracket] = []
    for bracket in sorted(brackets, key=lambda each: each.start):
        if not found or bracket.start > found[-1].end:
            found.append(bracket)
    return found


def _brackets(text: str) -> list[_Bracket]:
    """Every pair of square brackets; what has no other is a character like any."""
    found: list[_Bracket] = []
    open_at: list[tuple[str, int, list[int], list[int]]] = []
    place = 0
    while place < len(text):
        mark = text[place]
        if mark == "\\":
            place += 1
        elif mark in _OPENING:
            if len(open_at) == _DEEPEST:
                raise Malformed(place, f"more than {_DEEPEST} brackets in one another")
            open_at.append((mark, place, [], []))
        elif mark in _CLOSING and any(each[0] == _CLOSING[mark] for each in open_at):
            # What is open inside and never closed is a character like any.
            while open_at[-1][0] != _CLOSING[mark]:
                open_at.pop()
            opening, start, colons, bars = open_at.pop()
            if opening == "[":
                found.append(_Bracket(start, place, tuple(colons), tuple(bars)))
        elif mark in ":|" and open_at:
            (open_at[-1][2] if mark == ":" else open_at[-1][3]).append(place)
        place += 1
    return found
