"""A prompt as it stands: no mark means anything, and what does not fit the text encoders is truncated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zthumb.generation.prompts.base import Parser

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ModelFamily


class Plain(Parser):
    """As diffusers reads prompts."""

    def check(self, text: str) -> None:
        """See ``Parser``; every text is valid."""

    def encode(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> Conditioning:
        """See ``Parser``."""
        return family.encode_prompts(pipeline, [text], learned_tokens)

    def weighted(self, text: str, weight: float) -> str:
        """See ``Parser``; there are no weights but 1."""
        if weight != 1:
            raise ValueError("prompt_parser plain knows no weights: take 1, or prompt_parser lpw or compel")
        return text

    def truncated_text(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> str:
        """See ``Parser``: the words after the last that is read."""
        return family.truncated_prompt(pipeline, text, learned_tokens)


PARSER = Plain()
