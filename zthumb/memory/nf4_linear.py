"""A linear layer whose weight is kept in NormalFloat-4 (QLoRA, arXiv 2305.14314), by bitsandbytes."""

from __future__ import annotations

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import Tensor, nn


class Nf4Linear(Linear4bit):  # type: ignore[misc]
    """Computes what ``linear`` does, with a weight of half a byte a number, rounded on its way to a device.

    It computes in ``precision``, which its outputs have, as those of ``nn.Linear`` under autocast; without one, in that of its
    inputs.
    """

    def __init__(self, linear: nn.Linear, precision: torch.dtype | None = None) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, compute_dtype=precision, device="meta")
        self.weight = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
        self.register_parameter("bias", linear.bias)
        self._precision = precision
        # Nothing is chosen by the first inputs, and the weight is never packed for one processor: all compute the same.
        self.compute_type_is_set, self.support_avx512bf16_for_cpu = True, False

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        self.compute_dtype = self._precision or inputs.dtype
        outputs: Tensor = super().forward(inputs.to(self.compute_dtype))
        return outputs

    def original_weight(self) -> Tensor:
        """Return the weight (out, in), float32."""
        weight: Tensor = dequantize_4bit(self.weight.data, self.weight.quant_state)
        return weight.float()
