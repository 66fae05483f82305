"""T-LoRA (arXiv 2507.05964): directions of the base's own weight and how much each counts, all trained on from there.

A file does not say which directions it began with, those of the largest, the smallest or the middle singular values; begun with
another set it would change the base before a step of training. The set that is nearest by far is the one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, NotWhole, Shape, Tensors, fitted, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor

_NEARER = 0.8
"""Of the distance to the second nearest beginning, that to the nearest must be less than this."""


def _weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    up, down = _layer(tensors, shape, base)
    return fitted(up @ down, shape)


def _layer(tensors: Tensors, shape: Shape, base: Tensor) -> tuple[Tensor, Tensor]:
    """What was trained less what it began with, as one LoRA of twice the rank."""
    import torch

    if len(shape) > 2 and any(size > 1 for size in shape[2:]):
        raise NotWhole("that of a convolution with a kernel begins with weights that the file does not tell")
    up, down = tensors["p_layer.weight"].flatten(1), tensors["q_layer.weight"].flatten(1)
    up, rank = up * tensors["lambda_layer"].reshape(1, -1), down.shape[0]
    trained = product(up, down, shape)
    left, values, right = torch.linalg.svd(base.flatten(1), full_matrices=False)
    middle = (len(values) - rank) // 2
    starts = [slice(0, rank), slice(len(values) - rank, len(values)), slice(middle, middle + rank)]
    beginnings = [(left[:, each] * values[each], right[each]) for each in starts]
    distances = [float((trained - one @ other).norm()) for one, other in beginnings]
    nearest, second, _ = sorted(distances)
    if nearest > _NEARER * second:
        raise NotWhole("what it began with cannot be told: it was made from random directions, or of another base")
    began_up, began_down = beginnings[distances.index(nearest)]
    return torch.cat([up, -began_up], dim=1) * scale_of(tensors, rank), torch.cat([down, began_down])


KIND = Kind(
    title="T-LoRA",
    marks=("lambda_layer",),
    others=("q_layer.weight", "p_layer.weight"),
    weight=_weight,
    needs_base=True,
    layer=_layer,
)
