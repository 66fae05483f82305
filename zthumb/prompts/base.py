"""What the generator asks of a prompt parser."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family


PIECES = 16
"""Of a prompt; the denoiser attends to all of them at each step."""
MOST = 10.0
_PLAIN = re.compile(r"[A-Za-z0-9 ,]{0,75}")


@dataclass(frozen=True)
class Part:
    """One part of a prompt: its ``weight`` among them, and its text at each step."""

    weight: float
    texts: tuple[str, ...]

    @property
    def is_constant(self) -> bool:
        """Whether its text is the same at every step."""
        return len(set(self.texts)) < 2


class Malformed(Exception):
    """A prompt whose marks mean nothing: what is wrong, at which character, counted from 1."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(f"at character {place + 1}: {reason}")
        self.position = place + 1


class Parser(ABC):
    """One way to write prompts. It has no state."""

    marks: Sequence[re.Pattern[str]] = ()
    """What of its grammar means something to it and is plain words elsewhere."""

    @abstractmethod
    def check(self, text: str) -> None:
        """Raise ``Malformed`` if ``text`` cannot be encoded; no model is needed for that."""

    @abstractmethod
    def encode(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """Text states (1, tokens, width) and the pooled embedding (1, width), float32.

        ``words`` are those that the text encoders know besides their own, with the tokens that stand for each.
        """

    @abstractmethod
    def weighted(self, text: str, weight: float) -> str:
        """A prompt that says ``text``, whatever marks are in it, ``weight`` times; ``ValueError`` says why there is none."""

    def parts_of(self, text: str, steps: int) -> tuple[Part, ...]:
        """The parts of ``text`` that are predicted each by itself, at each step; ``Malformed`` where it cannot be read."""
        return (Part(1.0, (text,) * steps),)

    def unread(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> str:  # noqa: ARG002
        """The end of ``text`` that is not read; empty when all of it is."""
        return ""


def is_plain(text: str) -> bool:
    """Whether ``text`` means the same to every parser and is certainly one piece: no marks, and a token is a letter at least."""
    return _PLAIN.fullmatch(text) is not None and "BREAK" not in text and "AND" not in text


def check_weight(weight: float, place: int, least: float = 0.0) -> None:
    """Raise ``Malformed`` for a weight that no text encoder's states stand, or of less than ``least``."""
    if not least <= weight <= MOST:
        raise Malformed(place, f"a weight is {least:g} to {MOST:g}, that of brackets in brackets too")


def check_pieces(tokens: int, room: int) -> None:
    """``BadInput`` for a prompt of more tokens than are attended to at once."""
    pieces = -(-tokens // room)
    if pieces > PIECES:
        raise BadInput(f"prompt: {tokens:,} tokens are {pieces} pieces of {room}; {PIECES} are read at most. Shorten it.")
