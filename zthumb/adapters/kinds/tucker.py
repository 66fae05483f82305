"""LoCon with Tucker decomposition: two 1 × 1 convolutions around one with the module's kernel size (LyCORIS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, check_size, fit_to, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _delta_weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    import torch

    down, up = (tensors[name].flatten(1) for name in ("lora_down.weight", "lora_up.weight"))
    check_size(up.shape[0] * down.numel() // down.shape[0] * tensors["lora_mid.weight"][0, 0].numel(), shape)
    change = torch.einsum("m n ..., i m, n j -> i j ...", tensors["lora_mid.weight"], up, down)
    return fit_to(change * scale_of(tensors, down.shape[0]), shape)


KIND = Kind(
    title="LoCon (Tucker)",
    identifying_suffixes=("lora_mid.weight",),
    other_suffixes=("lora_down.weight", "lora_up.weight"),
    delta_weight=_delta_weight,
)
