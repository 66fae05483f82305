"""A linear layer whose weight stays in a GGUF file's blocks, and is spelt out for each product."""

from __future__ import annotations

import torch
from diffusers.quantizers.gguf.utils import dequantize_functions
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor, nn
from torch.nn import functional


class BlockLinear(nn.Linear):
    """As ``nn.Linear``, with a ``weight`` of bytes, in whichever precision it is asked.

    Blocks may run across rows: ComfyUI-GGUF stores weights whose rows are no whole number of blocks as if they had other rows.
    """

    def __init__(self, blocks: Tensor, kind: GGMLQuantizationType, bias: Tensor | None, shape: tuple[int, int]) -> None:
        super().__init__(shape[1], shape[0], bias=False, device="meta")
        self.kind = kind
        self.weight = nn.Parameter(blocks, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out), of the inputs' dtype."""
        weight = dequantize(self.weight, self.kind, inputs.dtype).reshape(self.out_features, self.in_features)
        return functional.linear(inputs, weight, None if self.bias is None else self.bias.to(inputs.dtype))


def dequantize(blocks: Tensor, kind: GGMLQuantizationType, dtype: torch.dtype) -> Tensor:
    """The numbers in ``blocks``, bytes of any shape, one after the other."""
    block_size, type_size = GGML_QUANT_SIZES[kind]
    # In sixteen bits a block's offset would swallow the last digits of its small numbers.
    numbers: Tensor = dequantize_functions[kind](blocks.reshape(-1, type_size), block_size, type_size, torch.float32)
    return numbers.flatten().to(dtype)
