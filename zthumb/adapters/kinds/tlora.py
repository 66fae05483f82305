"""T-LoRA (arXiv 2507.05964): singular vectors of the base's own weight and a factor for each, all trained from there.

A file does not record which singular vectors training started from: those of the largest, the smallest or the middle singular
values. Assuming the wrong set, the adapter would change the base before the first step of training. So the set that is nearest to
the trained factors is chosen, provided that it is nearest by far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import IncompleteTensors, Kind, Shape, Tensors, fit_to, product, scale_of

if TYPE_CHECKING:
    from torch import Tensor

_MAX_DISTANCE_RATIO = 0.8
"""The largest accepted distance to the nearest initialization, relative to the distance to the second nearest."""


def _delta_weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    up, down = _to_lora(tensors, shape, base)
    return fit_to(up @ down, shape)


def _to_lora(tensors: Tensors, shape: Shape, base: Tensor) -> tuple[Tensor, Tensor]:
    """Return the trained factors minus the initial ones, as one LoRA of twice the rank."""
    import torch

    if len(shape) > 2 and any(size > 1 for size in shape[2:]):
        raise IncompleteTensors("for a convolution with a kernel, training starts from weights that the file does not contain")
    up, down = tensors["p_layer.weight"].flatten(1), tensors["q_layer.weight"].flatten(1)
    up, rank = up * tensors["lambda_layer"].reshape(1, -1), down.shape[0]
    trained = product(up, down, shape)
    left, values, right = torch.linalg.svd(base.flatten(1), full_matrices=False)
    middle = (len(values) - rank) // 2
    ranges = [slice(0, rank), slice(len(values) - rank, len(values)), slice(middle, middle + rank)]
    candidates = [(left[:, indices] * values[indices], right[indices]) for indices in ranges]
    distances = [float((trained - initial_up @ initial_down).norm()) for initial_up, initial_down in candidates]
    nearest, second, _ = sorted(distances)
    if nearest > _MAX_DISTANCE_RATIO * second:
        raise IncompleteTensors("its initialization is unknown: random directions, or another base")
    initial_up, initial_down = candidates[distances.index(nearest)]
    return torch.cat([up, -initial_up], dim=1) * scale_of(tensors, rank), torch.cat([down, initial_down])


KIND = Kind(
    title="T-LoRA",
    identifying_suffixes=("lambda_layer",),
    other_suffixes=("q_layer.weight", "p_layer.weight"),
    delta_weight=_delta_weight,
    needs_base=True,
    to_lora=_to_lora,
)
