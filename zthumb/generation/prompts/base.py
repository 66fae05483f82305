"""What image generation asks of a prompt parser."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ModelFamily

PIECES = 16
"""The most pieces of a prompt: the denoiser attends to all of them at each step."""
MAX_TOKEN_WEIGHT = 10.0
_PLAIN = re.compile(r"[A-Za-z0-9 ,]{0,75}")


@dataclass(frozen=True)
class Part:
    """One part of a prompt: its ``weight`` among the parts, and its text at each step."""

    weight: float
    texts: tuple[str, ...]

    @property
    def is_constant(self) -> bool:
        """Whether its text is the same at every step."""
        return len(set(self.texts)) < 2


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt and its weight."""

    text: str
    weight: float


class Malformed(Exception):
    """A prompt that cannot be parsed: what is wrong, at which character, counted from 1."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"at character {index + 1}: {reason}")
        self.position = index + 1


class Parser(ABC):
    """One grammar of prompts. It has no state."""

    marks: Sequence[re.Pattern[str]] = ()
    """Marks of its grammar that other parsers take for plain words."""

    @abstractmethod
    def check(self, text: str) -> None:
        """Raise ``Malformed`` if ``text`` cannot be encoded; no model is needed for that."""

    @abstractmethod
    def encode(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> Conditioning:
        """Return the conditioning of one prompt, float32, without sizes.

        ``learned_tokens`` are words that the text encoders know besides their own, with the number of tokens of each.
        """

    @abstractmethod
    def weighted(self, text: str, weight: float) -> str:
        """Return a prompt that says ``text``, whatever marks are in it, with ``weight``; ``ValueError`` where there is none."""

    def parts_of(self, text: str, steps: int) -> tuple[Part, ...]:
        """Return the parts of ``text`` that are predicted separately, at each step; ``Malformed`` where it cannot be parsed."""
        return (Part(1.0, (text,) * steps),)

    def fragments_of(self, text: str) -> Sequence[Fragment]:
        """Return the pieces of the text of one step with the weights that they are read with; ``Malformed`` where it is wrong."""
        return (Fragment(text, 1.0),)

    def truncated_text(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> str:  # noqa: ARG002
        """Return the end of ``text`` that the text encoders do not read; empty if they read all of it."""
        return ""


def is_plain(text: str) -> bool:
    """Whether ``text`` means the same to every parser and fits one piece: no marks, and a token is a letter at least."""
    return _PLAIN.fullmatch(text) is not None and "BREAK" not in text and "AND" not in text


def check_weight(weight: float, index: int, least: float = 0.0) -> None:
    """Raise ``Malformed`` for a weight below ``least`` or so high that text embeddings lose their meaning."""
    if not least <= weight <= MAX_TOKEN_WEIGHT:
        raise Malformed(index, f"a weight is {least:g} to {MAX_TOKEN_WEIGHT:g}, that of brackets in brackets too")


def check_pieces(tokens: int, max_prompt_tokens: int) -> None:
    """Raise ``BadInput`` for a prompt of more tokens than are attended to at once."""
    pieces = -(-tokens // max_prompt_tokens)
    if pieces > PIECES:
        raise BadInput(
            f"prompt: {tokens:,} tokens are {pieces} pieces of {max_prompt_tokens}; {PIECES} are read at most. Shorten it."
        )


def clip_text(family: ModelFamily, parser: str) -> Any:
    """Return ``family`` as one whose prompts are read by CLIP text encoders; ``BadInput`` for another, which has no weights."""
    from zthumb.families.shared.clip_text import ClipTextFamily

    if not isinstance(family, ClipTextFamily):
        raise BadInput(
            f"prompt_parser: {parser} weighs the tokens of CLIP text encoders, and {family.name} has others. Take plain."
        )
    return family
