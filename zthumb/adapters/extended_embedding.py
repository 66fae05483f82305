"""A text encoder's token embedding, extended by learned tokens."""

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
    """Looks up token ids below the size of ``own`` in ``own``, the original embedding, and the ids after that in ``more``."""

    def __init__(self, own: nn.Embedding, more: Tensor) -> None:
        super().__init__()
        self.own, self.more = own, more

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors (…, width) of the token ids (…,), in the dtype of the original embedding."""
        size = self.own.num_embeddings
        is_learned = tokens >= size
        vectors: Tensor = self.own(tokens.where(~is_learned, 0))
        learned = functional.embedding((tokens - size).clamp(min=0), self.more).to(vectors.dtype)
        return learned.where(is_learned[..., None], vectors)


def extend(encoder: Any, learned: Tensor) -> ExtendedEmbedding:
    """Replace the token embedding of ``encoder`` by one that has ``learned`` (count, width) after the original rows."""
    extended = ExtendedEmbedding(encoder.get_input_embeddings(), learned)
    encoder.set_input_embeddings(extended)
    return extended


@contextlib.contextmanager
def with_learned_tokens(
    components: Mapping[str, Any], learned_embeddings: Sequence[LearnedEmbedding]
) -> Iterator[dict[str, int]]:
    """Extend the text encoders among ``components`` by ``learned_embeddings`` inside the block, and restore them afterwards.

    Yields the number of tokens for each text, in the order of their token ids. Raises ``BadInput`` if two have the same text.
    """
    texts = [embedding.text.lower() for embedding in learned_embeddings]
    if repeated := next((text for text in texts if texts.count(text) > 1), None):
        raise BadInput(f"two of the adapters have learned tokens for the same word, {repeated!r}: use only one of them.")
    encoders = {
        component: components[component]
        for component in components
        if learned_embeddings and component in learned_embeddings[0].vectors
    }
    originals = {component: encoder.get_input_embeddings() for component, encoder in encoders.items()}
    try:
        for component, encoder in encoders.items():
            extend(encoder, torch.cat([embedding.vectors[component] for embedding in learned_embeddings]).to(encoder.device))
        yield {embedding.text: embedding.tokens for embedding in learned_embeddings}
    finally:
        for component, encoder in encoders.items():
            encoder.set_input_embeddings(originals[component])
