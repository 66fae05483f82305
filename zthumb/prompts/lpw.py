"""Long and weighted prompts, as A1111 writes them.

``(more)`` counts 1.1 times, ``[less]`` 1 / 1.1 times, ``(this:1.4)`` 1.4 times, also one in the other; a backslash before a
bracket makes it one that is read. A prompt of any length is read in pieces that the text encoders have room for, one after the
other; ``BREAK`` begins a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zthumb.prompts.base import PIECES, Malformed, Parser, check_pieces, check_weight

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family

_STEP = 1.1
_MARK = re.compile(r"\\.|[()\[\]]|\bBREAK\b", re.DOTALL)
_WEIGHT = re.compile(r":\s*([-+.\d][^:()\[\]]*)$")
_CLOSING = {")": "(", "]": "["}


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt and how many times it counts."""

    text: str
    weight: float


Section = list[Fragment]


class LongWeighted(Parser):
    """A1111's grammar; weights as in diffusers' pipeline of that name."""

    def check(self, text: str) -> None:
        """See ``Parser``."""
        parse(text)

    def weighted(self, text: str, weight: float) -> str:
        """See ``Parser``."""
        if "BREAK" in text:
            raise ValueError("prompt_parser lpw has no mark for the word BREAK itself")
        literal = re.sub(r"([()\[\]\\])", r"\\\1", text)
        return literal if weight == 1 else f"({literal}:{weight:g})"

    def encode(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """See ``Parser``."""
        import torch

        chunks = [chunk for section in parse(text) for chunk in _chunks(section, pipeline, family, words)]
        check_pieces(len(chunks) * family.room, family.room)
        tokens = torch.stack([family.framed(pipeline, chunk.tokens) for chunk in chunks])
        parts = {part: getattr(pipeline, part) for part in family.text_parts}
        with torch.no_grad():
            # One after the other: as much memory as for one.
            encoded = [family.encode_tokens(parts, each[None]) for each in tokens]
        states, pooled = (torch.cat(each) for each in zip(*encoded, strict=True))
        weights = torch.ones(states.shape[:2])
        for number, chunk in enumerate(chunks):
            weights[number, 1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
        states, weights = states.float(), weights[..., None].to(states.device)
        # What weighs nothing is as what fills the piece up.
        last = states[:, -1:]
        weighted = torch.where(weights == 1, states, last + (states - last) * weights)
        # The whole prompt's embedding is that of its first piece.
        return weighted.flatten(0, 1)[None], pooled[:1].float()


@dataclass(frozen=True)
class _Chunk:
    """So many tokens as a text encoder has room for, of each encoder, and the weight of each."""

    tokens: Sequence[list[int]]
    weights: list[float]


def parse(text: str) -> list[Section]:
    """The fragments of each section, which ``BREAK`` separates; ``Malformed`` where a bracket has no other."""
    sections: list[Section] = [[]]
    open_at: list[tuple[str, int, int]] = []
    place = 0

    def add(piece: str) -> None:
        if piece:
            sections[-1].append(Fragment(piece, 1.0))

    for found in _MARK.finditer(text):
        mark = found[0]
        piece, place = text[place : found.start()], found.end()
        if mark.startswith("\\"):
            # Before anything but a mark a backslash is one.
            add(piece + (mark[1] if mark[1] in "()[]\\" else mark))
        elif mark == "BREAK":
            add(piece)
            if open_at:
                raise Malformed(found.start(), f"BREAK inside brackets, of which that at character {open_at[-1][1] + 1} is open")
            sections.append([])
            if len(sections) > PIECES:
                raise Malformed(found.start(), f"more than {PIECES} pieces")
        elif mark in "([":
            add(piece)
            open_at.append((mark, found.start(), len(sections[-1])))
        else:
            add(_closed(piece, found, open_at))
            _weigh(sections[-1], open_at.pop()[2], mark, piece, found.start())
    add(text[place:])
    if open_at:
        raise Malformed(open_at[-1][1], f"{open_at[-1][0]} is never closed; write \\{open_at[-1][0]} for the bracket itself")
    return [_joined(section) for section in sections]


def _closed(piece: str, found: re.Match[str], open_at: Sequence[tuple[str, int, int]]) -> str:
    """A piece before a closing bracket, without the weight at its end."""
    mark = found[0]
    if not open_at or open_at[-1][0] != _CLOSING[mark]:
        raise Malformed(found.start(), f"{mark} closes nothing; write \\{mark} for the bracket itself")
    weight = _WEIGHT.search(piece) if mark == ")" else None
    return piece[: weight.start()] if weight else piece


def _weigh(section: Section, start: int, mark: str, piece: str, end: int) -> None:
    """Let what stands inside a pair of brackets count as it says."""
    told = _WEIGHT.search(piece) if mark == ")" else None
    factor = _number(told, end - len(piece)) if told else _STEP if mark == ")" else 1 / _STEP
    for fragment in section[start:]:
        check_weight(fragment.weight * factor, end)
    section[start:] = [Fragment(fragment.text, fragment.weight * factor) for fragment in section[start:]]


def _number(told: re.Match[str], offset: int) -> float:
    try:
        weight = float(told[1])
    except ValueError:
        raise Malformed(offset + told.start(1), f"{told[1].strip()!r} is no weight; write a number, as in (this:1.2)") from None
    check_weight(weight, offset + told.start(1))
    return weight


def _joined(section: Section) -> Section:
    """Neighbours of one weight as one, so that a word with a bracket in it stays one."""
    joined: Section = []
    for fragment in section:
        if joined and joined[-1].weight == fragment.weight:
            joined[-1] = Fragment(joined[-1].text + fragment.text, fragment.weight)
        else:
            joined.append(fragment)
    return joined


def _chunks(section: Section, pipeline: Any, family: Family, words: Mapping[str, int]) -> list[_Chunk]:
    """A section in pieces of the encoders' room; an empty one is one piece."""
    read = [(family.read(pipeline, fragment.text, words), fragment.weight) for fragment in section]
    # Of all text encoders of a family the tokens are the same in number.
    weights = [weight for tokens, weight in read for _ in tokens[0]]
    encoders = len(family.read(pipeline, "", words))
    tokens = [[token for tokens, _ in read for token in tokens[encoder]] for encoder in range(encoders)]
    starts = range(0, max(1, len(weights)), family.room)
    return [
        _Chunk([each[start : start + family.room] for each in tokens], weights[start : start + family.room]) for start in starts
    ]


PARSER = LongWeighted()
