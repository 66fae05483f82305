"""Full differences of weights, biases and norms, as ComfyUI's trainer and LyCORIS (``full``, ``norm``) write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, fit_to

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor | None:
    difference = tensors.get("diff", tensors.get("w_norm"))
    return None if difference is None else fit_to(difference, shape)


KIND = Kind(
    title="full difference",
    identifying_suffixes=("diff", "w_norm"),
    other_suffixes=("diff_b", "b_norm"),
    delta_weight=_delta_weight,
)
