"""(IA)³ (arXiv 2205.05638): every input or output of a module is scaled by a learned number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, base: Tensor | None) -> Tensor:
    assert base is not None
    scale = tensors["weight"].flatten()
    scaled_axis = 1 if bool(tensors["on_input"].flatten()[0]) else 0
    if len(scale) != shape[scaled_axis]:
        raise ValueError(f"{len(scale)} scales for {shape[scaled_axis]} of a weight of {shape}")
    return base * scale.reshape([-1 if axis == scaled_axis else 1 for axis in range(len(shape))])


KIND = Kind(
    title="(IA)³",
    identifying_suffixes=("on_input",),
    other_suffixes=("weight",),
    delta_weight=_delta_weight,
    needs_base=True,
)
