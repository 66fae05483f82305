"""Whole differences of weights, biases and norms, as ComfyUI's trainer and LyCORIS (``full``, ``norm``) write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, fitted

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor | None:
    found = tensors.get("diff", tensors.get("w_norm"))
    return None if found is None else fitted(found, shape)


KIND = Kind(title="full difference", marks=("diff", "w_norm"), others=("diff_b", "b_norm"), weight=_weight)
