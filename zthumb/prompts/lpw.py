"""Long and weighted prompts, as A1111 writes them (``zthumb.a1111``).

A prompt of any length is read in pieces that the text encoders have room for, one after the other; ``BREAK`` begins a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zthumb.a1111 import schedule
from zthumb.a1111.attention import Section, parse
from zthumb.prompts.base import Parser, Part, check_pieces

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family


class LongWeighted(Parser):
    """A1111's grammar; weights as in diffusers' pipeline of that name."""

    marks = (
        re.compile(r"\([^()]*:\s*[+-]?[.\d]+\s*\)|\(\(.{0,200}?\)\)"),
        re.compile(r"\[[^\[\]:|]*[:|][^\[\]]*\]"),
        re.compile(r"\b(?:BREAK|AND)\b"),
    )

    def check(self, text: str) -> None:
        """See ``Parser``."""
        parse(text)

    def parts_of(self, text: str, steps: int) -> tuple[Part, ...]:
        """See ``Parser``."""
        return schedule.parts_of(text, steps)

    def weighted(self, text: str, weight: float) -> str:
        """See ``Parser``."""
        if re.search(r"\b(?:BREAK|AND)\b", text):
            raise ValueError("prompt_parser lpw has no mark for the words BREAK and AND themselves")
        literal = re.sub(r"([()\[\]\\])", r"\\\1", text)
        return literal if weight == 1 else f"({literal}:{weight:g})"

    def encode(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """See ``Parser``."""
        import torch

        chunks = [chunk for section in parse(text) for chunk in _chunks(section, pipeline, family, words)]
        check_pieces(len(chunks) * family.room, family.room)
        tokens = torch.stack([family.framed(pipeline, chunk.tokens) for chunk in chunks])
        parts = {part: getattr(pipeline, part) for part in family.text_components}
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
