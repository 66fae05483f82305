"""Latents as tokens: squares of 2 × 2 latents, as the transformers of FLUX.1, FLUX.2 and Qwen-Image take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 2
"""Latents of the edge of a token's square."""


def pack(latents: Tensor) -> Tensor:
    """Return latents (B, channels, h, w) as tokens (B, h/2 · w/2, channels · 4), row by row."""
    count, channels, height, width = latents.shape
    squares = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(count, (height // PATCH) * (width // PATCH), channels * PATCH * PATCH)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return tokens as latents (B, channels, ``height``, ``width``): the inverse of ``pack``."""
    count, _, size = tokens.shape
    channels = size // (PATCH * PATCH)
    squares = tokens.reshape(count, height // PATCH, width // PATCH, channels, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(count, channels, height, width)


def positions(height: int, width: int) -> Tensor:
    """Return the place (0, row, column) of each token of latents of that size: float32 (h/2 · w/2, 3)."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(height // PATCH), torch.arange(width // PATCH), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).float()
