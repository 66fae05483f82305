"""Prompts that change from step to step, as A1111 writes them, and prompts of several parts.

``[a:b:0.5]`` is ``a`` for the first half of the steps and ``b`` after it, ``[a:0.5]`` adds and ``[a::0.5]`` takes away; a number
with a point is a share of the steps, one without is a step. ``[a|b]`` takes turns. ``a AND b :0.8`` is each part by itself, with
a weight for each (https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features). Brackets that say none of this stay as
they are.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from zthumb.prompts.base import MOST, Malformed, Part, check_weight

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r":\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+))\s*$")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)\s*")
_OPENING, _CLOSING = "([", {")": "(", "]": "["}
_DEEPEST, _MOST_PARTS = 50, 8


@dataclass(frozen=True)
class _Bracket:
    """A pair of square brackets in a text, from ``start`` to ``end``, and where its text is divided, with what."""

    start: int
    end: int
    colons: tuple[int, ...]
    bars: tuple[int, ...]


@dataclass(frozen=True)
class _Change:
    """A pair of brackets that changes from step to step: ``texts`` in turns, or the first up to ``when`` and then the second."""

    texts: tuple[_Nodes, ...]
    when: str | None = None


_Nodes = tuple["str | _Change", ...]
"""A text: what stays and what changes, in turn."""


def parts_of(text: str, steps: int) -> tuple[Part, ...]:
    """The parts of a prompt at each of ``steps`` steps; ``Malformed`` where there are more parts or brackets than are read."""
    pieces = _AND.split(text)
    if len(pieces) > _MOST_PARTS:
        raise Malformed(len(pieces[0]), f"more than {_MOST_PARTS} parts with AND between")
    if len(pieces) == 1:
        return (Part(1.0, _at_steps(text, steps)),)
    starts = [0, *(found.end() for found in _AND.finditer(text))]
    return tuple(_part(text, start, start + len(piece), steps) for start, piece in zip(starts, pieces, strict=True))


def find(text: str) -> int | None:
    """The first character of a mark that changes a prompt from step to step or divides it; None where there is none."""
    divided = _AND.search(text)
    places = [bracket.start for bracket in _brackets(text) if _says(bracket, text)]
    return min([*places, *([divided.start()] if divided else [])], default=None)


def _part(prompt: str, start: int, end: int, steps: int) -> Part:
    piece = prompt[start:end]
    weight = _PART_WEIGHT.search(piece)
    text = piece[: weight.start()] if weight else piece
    counts = float(weight[1]) if weight else 1.0
    if weight:
        check_weight(counts, start + weight.start(1), least=-MOST)
    return Part(counts, _at_steps(text.strip(), steps, start + len(text) - len(text.lstrip())))


def _at_steps(text: str, steps: int, offset: int = 0) -> tuple[str, ...]:
    """``text`` at each of the steps; it begins ``offset`` characters into the prompt."""
    changing = sorted((each for each in _brackets(text, offset) if _says(each, text)), key=lambda each: each.start)
    if not changing:
        return (text,) * steps
    nodes = _nodes(text, 0, len(text), deque(changing))
    return tuple(_at(nodes, step, steps) for step in range(1, steps + 1))


def _nodes(text: str, start: int, end: int, brackets: deque[_Bracket]) -> _Nodes:
    """The text from ``start`` to ``end``, of which the first of ``brackets`` are those in it, and are taken from them."""
    found: list[str | _Change] = []
    while brackets and brackets[0].start < end:
        bracket = brackets.popleft()
        ends = [bracket.start, *(bracket.bars or bracket.colons), bracket.end]
        texts = tuple(_nodes(text, left + 1, right, brackets) for left, right in pairwise(ends))
        found.append(text[start : bracket.start])
        found.append(_Change(texts) if bracket.bars else _switch(texts, text[ends[-2] + 1 : bracket.end]))
        start = bracket.end + 1
    return (*found, text[start:end])


def _switch(texts: tuple[_Nodes, ...], when: str) -> _Change:
    *named, _ = texts
    return _Change((named[0] if len(named) == 2 else (), named[-1]), when)


def _at(nodes: _Nodes, step: int, steps: int) -> str:
    """The text at a ``step``, counted from 1."""
    return "".join(node if isinstance(node, str) else _at(_chosen(node, step, steps), step, steps) for node in nodes)


def _chosen(change: _Change, step: int, steps: int) -> _Nodes:
    """What a pair of brackets is at a step."""
    if change.when is None:
        return change.texts[(step - 1) % len(change.texts)]
    last = float(change.when) * steps if "." in change.when else float(change.when)
    before, after = change.texts
    # A step is a whole number: 2.5 and 2 are one step to be the last.
    return before if step <= last else after


def _says(bracket: _Bracket, text: str) -> bool:
    """Whether a pair of brackets changes from step to step."""
    if bracket.bars:
        return not bracket.colons
    return 1 <= len(bracket.colons) <= 2 and bool(_NUMBER.fullmatch(text, bracket.colons[-1] + 1, bracket.end))


def _brackets(text: str, offset: int = 0) -> list[_Bracket]:
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
                raise Malformed(offset + place, f"more than {_DEEPEST} brackets in one another")
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
