"""Loss weights that give the object half of each image's loss, however small it is."""

import torch
from torch import Tensor

from miniature.glyphs import GLYPHS, SIGN
from miniature.training_images import Example
from miniature.world import RESOLUTION

MARGIN = 6.0
"""Pixels around the object that belong to it: its outline, its shadow, and what the autoencoder blends with it."""

_CELL = 8


def object_loss_weights(examples: list[Example]) -> Tensor:
    """Return weights of mean one over each image's latents (B, 1, 16, 16): half of them uniform, half on the object's square.

    Without them a small object has a twenty-fifth of the loss, and its shape is learned last.
    """
    return torch.stack([_weights(example) for example in examples])


def _weights(example: Example) -> Tensor:
    drawn_size, _, top, left, *_ = example.time_ids
    zoom = max(1.0, drawn_size / RESOLUTION)  # images drawn smaller are enlarged to the resolution again
    x, y = ((RESOLUTION / 2 + offset) * zoom for offset in example.scene.accidents.offset)
    # Of a plate it is the sign on it that is hard to draw.
    radius = example.scene.accidents.radius * (SIGN if example.scene.shape in GLYPHS else 1)
    reach = radius * zoom + MARGIN
    centers = torch.arange(RESOLUTION // _CELL) * _CELL + _CELL / 2
    inside = ((centers - (y - top)).abs() <= reach)[:, None] & ((centers - (x - left)).abs() <= reach)[None, :]
    share = inside.float().mean()
    if share == 0:  # the object is outside the crop
        return torch.ones(1, *inside.shape)
    return (0.5 + 0.5 * inside.float() / share)[None]
