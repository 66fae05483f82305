"""The new tokens that stand for the trigger word, learned beside the adapter (textual inversion, arXiv 2208.01618)."""

from typing import Any

import torch
from torch import Tensor, nn

from zthumb.adapters.extended_embedding import ExtendedEmbedding, extend

NAME = "word"
"""What the learned vectors are called below a part's name."""


def add(encoder: Any, tokens: int) -> None:
    """Let ``encoder`` read so many ``tokens`` more, which are trained in fp32 and begin at zero."""
    own = encoder.get_input_embeddings()
    extend(encoder, nn.Parameter(torch.zeros(tokens, own.embedding_dim, device=own.weight.device)))


@torch.no_grad()
def begin(encoder: Any, vectors: Tensor) -> None:
    """Let the added tokens begin as ``vectors`` (count, width); the last stands for those there are none for."""
    learned = of(encoder)
    assert learned is not None
    learned.copy_(vectors[torch.arange(len(learned)).clamp(max=len(vectors) - 1)])


def of(model: nn.Module) -> Tensor | None:
    """The learned vectors (tokens, width) of a part; None where there are none."""
    return next((module.more for module in model.modules() if isinstance(module, ExtendedEmbedding)), None)
