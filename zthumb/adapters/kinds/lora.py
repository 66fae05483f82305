"""A plain LoRA where it cannot be PEFT's: as a DoRA that scales inputs, or in some modules of a part and not in others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, fitted, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    down, up = (tensors[name].flatten(1) for name in ("lora_down.weight", "lora_up.weight"))
    return fitted(up @ down * scale_of(tensors, down.shape[0]), shape)


KIND = Kind(title="LoRA", marks=(), others=("lora_down.weight", "lora_up.weight"), weight=_weight)
