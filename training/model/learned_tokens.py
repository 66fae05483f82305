"""The new tokens that stand for the trigger word, learned beside the adapter (textual inversion, arXiv 2208.01618)."""

from typing import Any

import torch
from torch import Tensor, nn

from zthumb.adapters.extended_embedding import ExtendedEmbedding, extend

NAME = "word"
"""The name of the learned embeddings below a component's name."""


def add_tokens(encoder: Any, count: int) -> None:
    """Add ``count`` tokens to the vocabulary of a text encoder, whose embeddings are trained in fp32 and start at zero."""
    embedding = encoder.get_input_embeddings()
    extend(encoder, nn.Parameter(torch.zeros(count, embedding.embedding_dim, device=embedding.weight.device)))


@torch.no_grad()
def initialize(encoder: Any, embeddings: Tensor) -> None:
    """Start the added tokens as ``embeddings`` (count, width); further tokens start as the last of them."""
    learned = embeddings_of(encoder)
    assert learned is not None
    learned.copy_(embeddings[torch.arange(len(learned)).clamp(max=len(embeddings) - 1)])


def embeddings_of(model: nn.Module) -> Tensor | None:
    """Return the learned embeddings (tokens, width) of a component; None if it has none."""
    return next((module.more for module in model.modules() if isinstance(module, ExtendedEmbedding)), None)
