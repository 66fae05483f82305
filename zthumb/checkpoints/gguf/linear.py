"""A linear layer whose weight stays in the blocks of a GGUF file and is dequantized for each product."""

from __future__ import annotations

import torch
from diffusers.quantizers.gguf.utils import dequantize_functions
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor, nn
from torch.nn import functional


class BlockLinear(nn.Linear):
    """``nn.Linear`` with a ``weight`` of bytes; it computes in the dtype of its inputs.

    Blocks may extend across rows: ComfyUI-GGUF stores weights whose rows are not a whole number of blocks in another shape.
    """

    instead = "use variant full"
    """What to do where this form of a weight is in the way."""

    def __init__(self, blocks: Tensor, kind: GGMLQuantizationType, bias: Tensor | None, shape: tuple[int, int]) -> None:
        super().__init__(shape[1], shape[0], bias=False, device="meta")
        self.kind = kind
        self.weight = nn.Parameter(blocks, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out), of the inputs' dtype."""
        return functional.linear(
            inputs, self._written_out(inputs.dtype), None if self.bias is None else self.bias.to(inputs.dtype)
        )

    def original_weight(self) -> Tensor:
        """Return the weight (out, in), float32."""
        return self._written_out(torch.float32)

    def _written_out(self, dtype: torch.dtype) -> Tensor:
        return dequantize(self.weight, self.kind, dtype).reshape(self.out_features, self.in_features)


def dequantize(blocks: Tensor, kind: GGMLQuantizationType, dtype: torch.dtype) -> Tensor:
    """Return the values in ``blocks``, bytes of any shape, as a flat tensor."""
    block_size, type_size = GGML_QUANT_SIZES[kind]
    # In 16 bits the offset of a block would round away the last digits of its small values.
    values: Tensor = dequantize_functions[kind](blocks.reshape(-1, type_size), block_size, type_size, torch.float32)
    return values.flatten().to(dtype)
