"""Fused attention on the meta device, which has none of its own: what it allocates, saves and computes."""

from threading import RLock
from typing import Any, ClassVar

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

    _one_at_a_time: ClassVar[RLock] = RLock()

    def __enter__(self) -> "FusedAttention":
        self._one_at_a_time.acquire()
        self._original = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = self
        return self

    def __exit__(self, *_: object) -> None:
        functional.scaled_dot_product_attention = self._original
        self._one_at_a_time.release()

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Return attention of ``query`` (…, queries, width) over ``key`` and ``value`` (…, keys, width)."""
        if query.device.type != "meta":
            # Another thread generates an image meanwhile.
            attention: Tensor = self._original(query, key, value, *arguments, **options)
            return attention
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
