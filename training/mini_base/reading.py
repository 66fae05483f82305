"""What the text encoders are asked besides: to name the scene that a caption tells of.

Denoising alone teaches them too late. Where an object stands shows in the picture only together with its colour and the
background's, so that for thousands of steps the words for it make no difference to the error; a linear layer that has to read
them back binds them within a few hundred. The layers are thrown away afterwards.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.mini_base.world import COLOURS, MEDIA, POSITIONS, SHAPES, SIZES, TEXTURES, Scene

ATTRIBUTES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "shape": SHAPES,
        "colour": tuple(COLOURS),
        "background": tuple(COLOURS),
        "size": tuple(SIZES),
        "position": tuple(POSITIONS),
        "texture": TEXTURES,
        "medium": MEDIA,
    }
)


class Reader(nn.Module):
    """One linear layer from an embedding to the words of every attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, sum(len(words) for words in ATTRIBUTES.values()))

    def forward(self, embedding: Tensor, answers: Tensor) -> Tensor:
        """The mean cross-entropy of reading ``answers`` (B, attributes) off ``embedding`` (B, width)."""
        logits = self.layer(embedding).float().split([len(words) for words in ATTRIBUTES.values()], dim=1)
        pairs = zip(logits, answers.unbind(1), strict=True)
        return torch.stack([cross_entropy(row, answer) for row, answer in pairs]).mean()


def answers(scenes: Sequence[Scene]) -> Tensor:
    """Each scene's attributes as numbers of words, int64 (B, attributes)."""
    return torch.tensor([[words.index(getattr(scene, name)) for name, words in ATTRIBUTES.items()] for scene in scenes])
