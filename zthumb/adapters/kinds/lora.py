"""A plain LoRA that PEFT cannot hold: a DoRA with one norm per input, or a DoRA in only some modules of a component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, fit_to, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    down, up = (tensors[name].flatten(1) for name in ("lora_down.weight", "lora_up.weight"))
    return fit_to(up @ down * scale_of(tensors, down.shape[0]), shape)


KIND = Kind(
    title="LoRA",
    identifying_suffixes=(),
    other_suffixes=("lora_down.weight", "lora_up.weight"),
    delta_weight=_delta_weight,
)
