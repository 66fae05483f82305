"""A linear layer whose weight and inputs share the large values of a channel, so that both are rounded alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BalancedLinear(nn.Linear):
    """Computes what ``linear`` does, with each input channel divided by its factor and the weight multiplied by it.

    What wraps the layer, such as an adapter, sees the inputs as they are: only the base's own product is balanced.
    """

    instead = "leave ZTHUMB_SALIENCE out"
    """What to do where this form of a weight is in the way."""
    factors: Tensor

    def __init__(self, linear: nn.Linear, factors: Tensor) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        # Rounded once: what multiplies the weight divides the inputs.
        rounded = factors.to(linear.weight.device, linear.weight.dtype)
        self.weight = nn.Parameter((linear.weight.float() * rounded.float()).to(linear.weight.dtype), requires_grad=False)
        self.register_parameter("bias", linear.bias)
        self.register_buffer("factors", rounded)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return functional.linear(inputs / self.factors.to(inputs.dtype), self.weight, self.bias)

    def original_weight(self) -> Tensor:
        """Return the weight (out, in) before it was balanced, float32."""
        weight: Tensor = self.weight.dequantize() if hasattr(self.weight, "dequantize") else self.weight
        original: Tensor = weight.detach().float() / self.factors.to(weight.device, torch.float32)
        return original
