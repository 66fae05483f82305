"""Where to look: weights that give the object half of each image's loss, however small it is."""

import torch
from torch import Tensor

from miniature.images import Example
from miniature.world import RESOLUTION

MARGIN = 6.0
"""Pixels around the object that belong to it: its outline, its shadow, and what the autoencoder blends with it."""

_CELL = 8


def focus(chosen: list[Example]) -> Tensor:
    """Weights of mean one over the latents (B, 1, 16, 16) of each image: one half evenly, one half on the object's square.

    Without it a small object has a twenty-fifth of the loss, and its shape is learned last.
    """
    return torch.stack([_weights(each) for each in chosen])


def _weights(chosen: Example) -> Tensor:
    drawn, _, top, left, *_ = chosen.time_ids
    zoom = max(1.0, drawn / RESOLUTION)  # images drawn smaller are enlarged to the resolution again
    x, y = ((RESOLUTION / 2 + offset) * zoom for offset in chosen.scene.accidents.offset)
    reach = chosen.scene.accidents.radius * zoom + MARGIN
    middles = torch.arange(RESOLUTION // _CELL) * _CELL + _CELL / 2
    inside = ((middles - (y - top)).abs() <= reach)[:, None] & ((middles - (x - left)).abs() <= reach)[None, :]
    share = inside.float().mean()
    if share == 0:  # the crop has cut it off
        return torch.ones(1, *inside.shape)
    return (0.5 + 0.5 * inside.float() / share)[None]
