"""Fused attention on the meta device, which has none of its own: what it allocates, saves and computes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class FusedAttention:
    """Fused attention, as on GPUs: it saves queries, keys, values and the output, but never the attention matrix.

    Within the block it replaces torch's ``scaled_dot_product_attention``, which has no fused form on the meta device, and counts
    its own operations, which ``FlopCounterMode`` does not know. A ``TorchFunctionMode`` would miss what checkpointing recomputes.
    """

    def __init__(self) -> None:
        self.operations = 0.0
        self._original = functional.scaled_dot_product_attention

    def __enter__(self) -> "FusedAttention":
        functional.scaled_dot_product_attention = self
        return self

    def __exit__(self, *_: object) -> None:
        functional.scaled_dot_product_attention = self._original

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return attention of ``query`` (…, queries, width) over ``key`` and ``value`` (…, keys, width)."""
        self.operations += 4.0 * query.numel() * key.shape[-2]
        attended: Tensor = _AttentionFunction.apply(query, key, value)  # type: ignore[no-untyped-call]
        return attended


class _AttentionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # Fused kernels lay the heads of a token out side by side, so that joining them copies nothing.
        out = query.new_empty(query.transpose(1, 2).shape).transpose(1, 2)
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])
