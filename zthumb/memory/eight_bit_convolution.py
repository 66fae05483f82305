"""A convolution whose weight is kept in eight bits, with a scale for each channel that it computes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Format = Literal["int8", "fp8"]

_LARGEST = {"int8": 127.0, "fp8": torch.finfo(torch.float8_e4m3fn).max}


class EightBitConvolution(nn.Conv2d):
    """Computes what ``convolution`` does, in the precision of its inputs, with a weight that is rounded to eight bits.

    TorchAO quantizes linear layers alone, and SD 1.5's UNet has two thirds of its weights in convolutions.
    """

    instead = "ZTHUMB_QUANTIZATION=int8dq and nf4 leave convolutions as they are"
    """What to do where this form of a weight is in the way."""
    scale: Tensor
    """(out, 1, 1, 1), the bits of float32 numbers, which moving the model to another precision does not round."""

    def __init__(self, convolution: Any, kind: Format) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
            bias=False,
            padding_mode=convolution.padding_mode,
            device="meta",
        )
        self._kind = kind
        weight = convolution.weight.detach().float()
        scale = (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / _LARGEST[kind]).clamp(min=torch.finfo(torch.float32).tiny)
        rounded = (weight / scale).round().to(torch.int8) if kind == "int8" else (weight / scale).to(torch.float8_e4m3fn)
        # As whole numbers, which nothing converts to another precision: what a module is moved to concerns its floats alone.
        self.weight = nn.Parameter(rounded.view(torch.int8), requires_grad=False)
        self.register_parameter("bias", convolution.bias)
        self.register_buffer("scale", scale.view(torch.int32))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in, height, width) → (batch, out, height, width), of the inputs' dtype."""
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        outputs: Tensor = self._conv_forward(inputs, self._written_out(inputs.dtype), bias)
        return outputs

    def original_weight(self) -> Tensor:
        """Return the weight (out, in, height, width), float32."""
        return self._written_out(torch.float32)

    def _written_out(self, dtype: torch.dtype) -> Tensor:
        rounded = self.weight if self._kind == "int8" else self.weight.view(torch.float8_e4m3fn)
        return rounded.to(dtype, copy=True).mul_(self.scale.view(torch.float32).to(dtype))
