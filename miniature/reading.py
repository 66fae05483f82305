"""What the text encoders are asked besides: to name the scene that a caption tells of.

Denoising alone teaches them too late. Where an object stands shows in the image only together with its colour and the
background's, so that for thousands of steps the words for it make no difference to the error; a linear layer that has to read
them back binds them within a few hundred. The layers are thrown away afterwards.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from miniature.invention import taught
from miniature.world import COLOURS, FILLS, POSITIONS, SIZES, STYLES, TEXTURES, Scene

NOT_ASKED = -1
"""The answer where a scene has none: a name that comes once, the second colour of a plain object."""


@lru_cache(maxsize=1)
def attributes() -> Mapping[str, Sequence[str]]:
    """What is asked of each scene, and the words to choose from."""
    return MappingProxyType(
        {
            "shape": taught(),
            "colour": tuple(COLOURS),
            "background": tuple(COLOURS),
            "second": tuple(COLOURS),
            "fill": FILLS,
            "size": tuple(SIZES),
            "position": tuple(POSITIONS),
            "texture": TEXTURES,
            "medium": STYLES,
        }
    )


class Reader(nn.Module):
    """One linear layer from an embedding to the words of every attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widths = [len(words) for words in attributes().values()]
        self.layer = nn.Linear(width, sum(self.widths))

    def forward(self, embedding: Tensor, answers: Tensor) -> Tensor:
        """The mean cross-entropy of reading ``answers`` (B, attributes) off ``embedding`` (B, width)."""
        logits = self.layer(embedding).float().split(self.widths, dim=1)
        pairs = zip(logits, answers.unbind(1), strict=True)
        wrong = [cross_entropy(row, answer, ignore_index=NOT_ASKED, reduction="sum") for row, answer in pairs]
        return (torch.stack(wrong) / (answers != NOT_ASKED).sum(dim=0).clamp(min=1)).mean()


def answers(scenes: Sequence[Scene]) -> Tensor:
    """Each scene's attributes as numbers of words, int64 (B, attributes)."""
    return torch.tensor([[_number(scene, name, words) for name, words in attributes().items()] for scene in scenes])


def _number(scene: Scene, name: str, words: Sequence[str]) -> int:
    word = getattr(scene, name)
    if word not in words or (name == "second" and scene.fill == "plain"):
        return NOT_ASKED
    return words.index(word)
