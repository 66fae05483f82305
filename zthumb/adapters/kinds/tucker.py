"""LoCon with Tucker decomposition: two 1 × 1 convolutions around one that has the kernel (LyCORIS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape, Tensors, check_size, fitted, scale_of

if TYPE_CHECKING:
    from torch import Tensor


def _weight(tensors: Tensors, shape: Shape, _: Tensor | None) -> Tensor:
    import torch

    down, up = (tensors[name].flatten(1) for name in ("lora_down.weight", "lora_up.weight"))
    check_size(up.shape[0] * down.numel() // down.shape[0] * tensors["lora_mid.weight"][0, 0].numel(), shape)
    change = torch.einsum("m n ..., i m, n j -> i j ...", tensors["lora_mid.weight"], up, down)
    return fitted(change * scale_of(tensors, down.shape[0]), shape)


KIND = Kind(title="LoCon (Tucker)", marks=("lora_mid.weight",), others=("lora_down.weight", "lora_up.weight"), weight=_weight)
