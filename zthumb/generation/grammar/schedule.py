"""Prompts that change from step to step and prompts of several parts, in A1111's syntax.

``[a:b:0.5]`` is ``a`` for the first half of the steps and ``b`` after it, ``[a:0.5]`` adds and ``[a::0.5]`` removes; a number
with a decimal point is a fraction of the steps, one without is a step. ``[a|b]`` alternates. ``a AND b :0.8`` predicts each
part separately, with a weight for each (https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features). Other brackets
stay as they are.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from zthumb.generation.prompts.base import MAX_TOKEN_WEIGHT, Malformed, Part, check_weight

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r":\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+))\s*$")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)\s*")
_OPENING, _CLOSING = "([", {")": "(", "]": "["}
_MAX_DEPTH, _MAX_PARTS = 50, 8


@dataclass(frozen=True)
class _Bracket:
    """A pair of square brackets in a text, from ``start`` to ``end``, and the positions of the separators in it."""

    start: int
    end: int
    colons: tuple[int, ...]
    bars: tuple[int, ...]


@dataclass(frozen=True)
class _Change:
    """A pair of brackets that changes from step to step: ``texts`` alternate, or the first up to ``when``, then the second."""

    texts: tuple[_Nodes, ...]
    when: str | None = None


_Nodes = tuple["str | _Change", ...]
"""A text: constant pieces and changes, alternating."""


def parts_of(text: str, steps: int) -> tuple[Part, ...]:
    """Return the parts of a prompt at each of ``steps`` steps; ``Malformed`` for too many parts or too deep brackets."""
    pieces = _AND.split(text)
    if len(pieces) > _MAX_PARTS:
        raise Malformed(len(pieces[0]), f"more than {_MAX_PARTS} parts separated by AND")
    if len(pieces) == 1:
        return (Part(1.0, _at_steps(text, steps)),)
    starts = [0, *(match.end() for match in _AND.finditer(text))]
    return tuple(_part(text, start, start + len(piece), steps) for start, piece in zip(starts, pieces, strict=True))


def find(text: str) -> int | None:
    """Return the index of the first mark that changes a prompt from step to step or divides it; None where there is none."""
    separator = _AND.search(text)
    positions = [bracket.start for bracket in _brackets(text) if _is_change(bracket, text)]
    return min([*positions, *([separator.start()] if separator else [])], default=None)


def _part(prompt: str, start: int, end: int, steps: int) -> Part:
    piece = prompt[start:end]
    match = _PART_WEIGHT.search(piece)
    text = piece[: match.start()] if match else piece
    weight = float(match[1]) if match else 1.0
    if match:
        check_weight(weight, start + match.start(1), least=-MAX_TOKEN_WEIGHT)
    return Part(weight, _at_steps(text.strip(), steps, start + len(text) - len(text.lstrip())))


def _at_steps(text: str, steps: int, offset: int = 0) -> tuple[str, ...]:
    """Return ``text`` at each of the steps; it starts at index ``offset`` of the prompt."""
    changes = sorted(
        (bracket for bracket in _brackets(text, offset) if _is_change(bracket, text)), key=lambda bracket: bracket.start
    )
    if not changes:
        return (text,) * steps
    nodes = _nodes(text, 0, len(text), deque(changes))
    return tuple(_at_step(nodes, step, steps) for step in range(1, steps + 1))


def _nodes(text: str, start: int, end: int, brackets: deque[_Bracket]) -> _Nodes:
    """Return the nodes of ``text`` from ``start`` to ``end``, removing the brackets in this range from the queue."""
    nodes: list[str | _Change] = []
    while brackets and brackets[0].start < end:
        bracket = brackets.popleft()
        ends = [bracket.start, *(bracket.bars or bracket.colons), bracket.end]
        texts = tuple(_nodes(text, left + 1, right, brackets) for left, right in pairwise(ends))
        nodes.append(text[start : bracket.start])
        nodes.append(_Change(texts) if bracket.bars else _switch(texts, text[ends[-2] + 1 : bracket.end]))
        start = bracket.end + 1
    return (*nodes, text[start:end])


def _switch(texts: tuple[_Nodes, ...], when: str) -> _Change:
    *alternatives, _ = texts
    return _Change((alternatives[0] if len(alternatives) == 2 else (), alternatives[-1]), when)


def _at_step(nodes: _Nodes, step: int, steps: int) -> str:
    """Return the text at a ``step``, counted from 1."""
    return "".join(node if isinstance(node, str) else _at_step(_choose(node, step, steps), step, steps) for node in nodes)


def _choose(change: _Change, step: int, steps: int) -> _Nodes:
    """Return the text of a pair of brackets at a step."""
    if change.when is None:
        return change.texts[(step - 1) % len(change.texts)]
    last = float(change.when) * steps if "." in change.when else float(change.when)
    before, after = change.texts
    # Steps are integers: 2.5 and 2 name the same last step.
    return before if step <= last else after


def _is_change(bracket: _Bracket, text: str) -> bool:
    """Return whether a pair of brackets changes from step to step."""
    if bracket.bars:
        return not bracket.colons
    return 1 <= len(bracket.colons) <= 2 and bool(_NUMBER.fullmatch(text, bracket.colons[-1] + 1, bracket.end))


def _brackets(text: str, offset: int = 0) -> list[_Bracket]:
    """Return every pair of square brackets; an unpaired one is a literal character."""
    brackets: list[_Bracket] = []
    stack: list[tuple[str, int, list[int], list[int]]] = []
    position = 0
    while position < len(text):
        mark = text[position]
        if mark == "\\":
            position += 1
        elif mark in _OPENING:
            if len(stack) == _MAX_DEPTH:
                raise Malformed(offset + position, f"more than {_MAX_DEPTH} nested brackets")
            stack.append((mark, position, [], []))
        elif mark in _CLOSING and any(opened[0] == _CLOSING[mark] for opened in stack):
            # A bracket that was opened inside and never closed is a literal character.
            while stack[-1][0] != _CLOSING[mark]:
                stack.pop()
            opening, start, colons, bars = stack.pop()
            if opening == "[":
                brackets.append(_Bracket(start, position, tuple(colons), tuple(bars)))
        elif mark in ":|" and stack:
            (stack[-1][2] if mark == ":" else stack[-1][3]).append(position)
        position += 1
    return brackets
