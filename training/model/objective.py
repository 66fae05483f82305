"""Losses over predictions, and the noise that images are trained with."""

import torch
from torch import Tensor

from foundation.errors import StageFailed


def not_finite(what: str) -> StageFailed:
    """Return the error that ends a run whose numbers are not finite; ``what`` is a clause that says which and where."""
    return StageFailed(f"{what}. The last checkpoint is as it was. Lower optimizer.lr, or use precision: fp32.")


def squared_errors(predicted: Tensor, target: Tensor, loss_mask: Tensor | None = None) -> Tensor:
    """Return each image's mean squared error (B,); ``loss_mask`` (B, 1, h, w) weighs the latent pixels of each."""
    errors = (predicted.float() - target.float()).pow(2)
    if loss_mask is not None:
        errors = errors * loss_mask
    return errors.mean(dim=(1, 2, 3))


def draw_noise(like: Tensor, offset: float, generator: torch.Generator) -> Tensor:
    """Return noise for one image's latents (C, h, w), each channel shifted as a whole by ``offset`` times a normal number."""
    noise = torch.randn(like.shape, generator=generator)
    return noise + offset * torch.randn((like.shape[0], 1, 1), generator=generator) if offset else noise
