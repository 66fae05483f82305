"""What the painter asks of a prompt parser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family


class Malformed(Exception):
    """A prompt whose marks mean nothing: what is wrong, at which character, counted from 1."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(f"at character {place + 1}: {reason}")
        self.position = place + 1


class Parser(ABC):
    """One way to write prompts. It has no state."""

    @abstractmethod
    def check(self, text: str) -> None:
        """Raise ``Malformed`` if ``text`` cannot be encoded; no model is needed for that."""

    @abstractmethod
    def is_short(self, text: str) -> bool:
        """Whether ``text`` is certainly encoded as states of the usual length; no model is needed for that."""

    @abstractmethod
    def encode(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """Text states (1, tokens, width) and the pooled embedding (1, width), float32.

        ``words`` are those that the text encoders know besides their own, with the tokens that stand for each.
        """

    @abstractmethod
    def weighted(self, text: str, weight: float) -> str:
        """A prompt that says ``text``, whatever marks are in it, ``weight`` times; ``ValueError`` where there is no such."""

    def unread(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> str:  # noqa: ARG002
        """The end of ``text`` that is not read; empty when all of it is."""
        return ""


def fits(text: str, room: int = 75) -> bool:
    """Whether ``text`` is certainly no more than ``room`` tokens: one of them is a byte at least."""
    return len(text.encode()) <= room
