"""(IA)³ (arXiv 2205.05638): every input or output of a module is scaled by a learned number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    scale = tensors["weight"].flatten()
    axis = 1 if bool(tensors["on_input"].flatten()[0]) else 0
    if len(scale) != shape[axis]:
        raise ValueError(f"{len(scale)} scales for {shape[axis]} of a weight of {shape}")
    return base * scale.reshape([-1 if place == axis else 1 for place in range(len(shape))])


KIND = Kind(title="(IA)³", marks=("on_input",), others=("weight",), weight=_weight, needs_base=True)
