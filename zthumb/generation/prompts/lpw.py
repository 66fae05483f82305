"""Long and weighted prompts, as A1111 writes them (``zthumb.a1111``).

A prompt of any length is read in pieces that fit the text encoders, one after the other; ``BREAK`` begins a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zthumb.generation.grammar import schedule
from zthumb.generation.grammar.emphasis import Section, parse
from zthumb.generation.prompts.base import Fragment, Parser, Part, check_pieces, clip_text

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ModelFamily
    from zthumb.families.shared.clip_text import ClipTextFamily


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

    def fragments_of(self, text: str) -> Sequence[Fragment]:
        """See ``Parser``."""
        return [fragment for section in parse(text) for fragment in section]

    def weighted(self, text: str, weight: float) -> str:
        """See ``Parser``."""
        if re.search(r"\b(?:BREAK|AND)\b", text):
            raise ValueError("prompt_parser lpw has no mark for the words BREAK and AND themselves")
        literal = re.sub(r"([()\[\]\\])", r"\\\1", text)
        return literal if weight == 1 else f"({literal}:{weight:g})"

    def encode(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> Conditioning:
        """See ``Parser``."""
        import torch

        clip = clip_text(family, "lpw")
        chunks = [chunk for section in parse(text) for chunk in _chunks(section, pipeline, clip, learned_tokens)]
        check_pieces(len(chunks) * clip.max_prompt_tokens, clip.max_prompt_tokens)
        token_ids = torch.stack([clip.pad_tokens(pipeline, chunk.tokens) for chunk in chunks])
        weights = torch.ones(len(chunks), token_ids.shape[-1])
        for number, chunk in enumerate(chunks):
            weights[number, 1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
        encoded: Conditioning = clip.encode_weighted(pipeline, token_ids, weights)
        return encoded


@dataclass(frozen=True)
class _Chunk:
    """As many tokens as a text encoder reads at once, for each encoder, and the weight of each token."""

    tokens: Sequence[list[int]]
    weights: list[float]


def _chunks(section: Section, pipeline: Any, family: ClipTextFamily, learned_tokens: Mapping[str, int]) -> list[_Chunk]:
    """A section in pieces that the encoders read at once; an empty one is one piece."""
    fragments = [(family.tokenize(pipeline, fragment.text, learned_tokens), fragment.weight) for fragment in section]
    # All text encoders of a family read the same number of tokens.
    weights = [weight for tokens, weight in fragments for _ in tokens[0]]
    encoders = len(family.tokenize(pipeline, "", learned_tokens))
    tokens = [[token for tokens, _ in fragments for token in tokens[encoder]] for encoder in range(encoders)]
    size = family.max_prompt_tokens
    starts = range(0, max(1, len(weights)), size)
    return [_Chunk([ids[start : start + size] for ids in tokens], weights[start : start + size]) for start in starts]


PARSER = LongWeighted()
