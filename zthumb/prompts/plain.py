"""A prompt as it stands: no mark means anything, and what the text encoders have no room for is not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zthumb.prompts.base import Parser

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family


class Plain(Parser):
    """As diffusers reads prompts."""

    def check(self, text: str) -> None:
        """Every text is one."""

    def encode(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """See ``Parser``."""
        return family.encode_prompts(pipeline, [text], words)

    def weighted(self, text: str, weight: float) -> str:
        """Nothing counts more than another thing."""
        if weight != 1:
            raise ValueError("prompt_parser plain knows no weights: take 1, or prompt_parser lpw or compel")
        return text

    def unread(self, text: str, pipeline: Any, family: Family, words: Mapping[str, int]) -> str:
        """The words after the last that is read."""
        ends = [len(text)]
        for tokens in family.read(pipeline, text, words):
            if len(tokens) > family.room:
                ends.append(_end_of(text, family, pipeline, words))
        return text[min(ends) :].strip()


def _end_of(text: str, family: Family, pipeline: Any, words: Mapping[str, int]) -> int:
    """Where the longest beginning of whole words ends that is read wholly."""
    places = [place for place, letter in enumerate(text) if letter.isspace()]
    low, high = 0, len(places)
    while low < high:
        middle = (low + high + 1) // 2
        is_read = all(len(tokens) <= family.room for tokens in family.read(pipeline, text[: places[middle - 1]], words))
        low, high = (middle, high) if is_read else (low, middle - 1)
    return places[low - 1] if low else 0


PARSER = Plain()
