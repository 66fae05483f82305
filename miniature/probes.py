"""Linear probes: an auxiliary loss in which a linear layer predicts a scene's attributes from the embedding of its caption.

Denoising alone teaches the text encoders too late. The position of an object shows in the image only together with its colour
and the background's, so that for thousands of steps the position words make no difference to the error. A linear layer that has
to recover the words from the embedding teaches them within a few hundred steps. The probes are discarded after training.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from miniature.glyphs import GLYPHS
from miniature.invention import taught_shapes
from miniature.world import COLOURS, FILLS, POSITIONS, SIZES, STYLES, TEXTURES, Scene

IGNORE_INDEX = -1
"""The label of an attribute without a value: a shape name that occurs once, the second colour of a plain object."""


@lru_cache(maxsize=1)
def attribute_values() -> Mapping[str, Sequence[str]]:
    """Return the attributes that the probes predict, each with its possible values."""
    return MappingProxyType(
        {
            "shape": taught_shapes(),
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


class AttributeProbe(nn.Module):
    """One linear layer from an embedding to the logits of all values of every attribute, of signs too if it ``has_signs``."""

    def __init__(self, width: int, has_signs: bool = False) -> None:
        super().__init__()
        self.value_counts = [
            len(values) + (len(GLYPHS) if has_signs and name == "shape" else 0) for name, values in attribute_values().items()
        ]
        self.layer = nn.Linear(width, sum(self.value_counts))

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of predicting ``labels`` (B, attributes) from ``embedding`` (B, width)."""
        logits = self.layer(embedding).float().split(self.value_counts, dim=1)
        pairs = zip(logits, labels.unbind(1), strict=True)
        losses = [cross_entropy(row, label, ignore_index=IGNORE_INDEX, reduction="sum") for row, label in pairs]
        return (torch.stack(losses) / (labels != IGNORE_INDEX).sum(dim=0).clamp(min=1)).mean()


def attribute_labels(scenes: Sequence[Scene]) -> Tensor:
    """Return each scene's attributes as indices of their values, int64 (B, attributes)."""
    return torch.tensor([[_label(scene, name, values) for name, values in attribute_values().items()] for scene in scenes])


def _label(scene: Scene, name: str, values: Sequence[str]) -> int:
    value = getattr(scene, name)
    if name == "shape" and value in GLYPHS:
        return len(values) + list(GLYPHS).index(value)
    if value not in values or (name == "second" and scene.fill == "plain"):
        return IGNORE_INDEX
    return values.index(value)
