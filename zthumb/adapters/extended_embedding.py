"""A text encoder's vocabulary with more words than it was made with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from foundation.errors import BadInput
from zthumb.adapters.textual_inversion import LearnedEmbedding


class ExtendedEmbedding(nn.Module):
    """Reads tokens below its ``own`` size as they were read before, and those from there on as the rows of ``more``."""

    def __init__(self, own: nn.Embedding, more: Tensor) -> None:
        super().__init__()
        self.own, self.more = own, more

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (…,) → their vectors (…, width), of the dtype of its own."""
        size = self.own.num_embeddings
        is_more = tokens >= size
        vectors: Tensor = self.own(tokens.where(~is_more, 0))
        added = functional.embedding((tokens - size).clamp(min=0), self.more).to(vectors.dtype)
        return added.where(is_more[..., None], vectors)


def extend(encoder: Any, more: Tensor) -> ExtendedEmbedding:
    """Let ``encoder`` read the rows of ``more`` (count, width) as the tokens after its own."""
    extended = ExtendedEmbedding(encoder.get_input_embeddings(), more)
    encoder.set_input_embeddings(extended)
    return extended


@contextlib.contextmanager
def with_learned_tokens(parts: Mapping[str, Any], words: Sequence[LearnedEmbedding]) -> Iterator[dict[str, int]]:
    """The text encoders among ``parts`` know ``words`` inside the block, and are afterwards as they were.

    Yields how many tokens stand for each word, in the order of their numbers. ``BadInput`` where two words are the same.
    """
    texts = [word.text.lower() for word in words]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise BadInput(f"two of the adapters bring the same word, {twice!r}: take one of them.")
    encoders = {part: parts[part] for part in parts if words and part in words[0].vectors}
    before = {part: encoder.get_input_embeddings() for part, encoder in encoders.items()}
    try:
        for part, encoder in encoders.items():
            extend(encoder, torch.cat([word.vectors[part] for word in words]).to(encoder.device))
        yield {word.text: word.tokens for word in words}
    finally:
        for part, encoder in encoders.items():
            encoder.set_input_embeddings(before[part])
