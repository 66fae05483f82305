"""The change of one module that is not a plain LoRA: stored factorized, computed as a dense weight where it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from zthumb.adapters.kinds.base import Kind, Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BIASES = ("diff_b", "b_norm")


@dataclass(frozen=True)
class Change:
    """``tensors`` of one ``kind``, float32, by the suffix of their names, for a module whose weight has ``shape``.

    ``magnitude`` are the norms of a DoRA, one per output (the first axis) or one per input (the second, if ``is_per_input``).
    The change is linear in the weight of its adapter: a weight of 0.5 is halfway between the base's weights and the changed ones.
    """

    kind: Kind
    tensors: Mapping[str, Tensor]
    shape: Shape
    magnitude: Tensor | None = None
    is_per_input: bool = False

    @property
    def needs_base(self) -> bool:
        """Return whether the change is computed from the base's own weight."""
        return self.kind.needs_base or self.magnitude is not None

    @property
    def size_bytes(self) -> int:
        """Return the memory that its tensors take."""
        tensors = [*self.tensors.values(), *([self.magnitude] if self.magnitude is not None else [])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @cached_property
    def _prepared(self) -> Mapping[str, Tensor]:
        return self.tensors if self.kind.prepare is None else self.kind.prepare(self.tensors)

    def delta_weight(self, base: Tensor | None) -> Tensor | None:
        """Return what is added to the module's weight ``base``, in its shape, float32; None if the weight does not change."""
        delta = self.kind.delta_weight(self._prepared, self.shape, base)
        if self.magnitude is None or delta is None:
            return delta
        assert base is not None
        return apply_dora(base, delta, self.magnitude, axis=1 if self.is_per_input else 0)

    def bias(self) -> Tensor | None:
        """Return what is added to the module's bias; None if it does not change."""
        bias = next((self.tensors[name] for name in _BIASES if name in self.tensors), None)
        return None if bias is None else bias.flatten()

    def to(self, device: torch.device) -> Change:
        """Return the change on another device."""
        return self._convert(lambda tensor: tensor.to(device))

    def in_dtype(self, dtype: torch.dtype) -> Change:
        """Return the change in another precision, to be written to a file."""
        return self._convert(lambda tensor: tensor.to(dtype))

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Change:
        magnitude = None if self.magnitude is None else convert(self.magnitude)
        return replace(self, tensors={name: convert(tensor) for name, tensor in self.tensors.items()}, magnitude=magnitude)


def apply_dora(base: Tensor, delta: Tensor, magnitude: Tensor, axis: int) -> Tensor:
    """Return what a DoRA adds to ``base``: ``base + delta`` is rescaled so that its norms along ``axis`` are ``magnitude``."""
    adapted = base + delta
    other_axes = [other for other in range(adapted.dim()) if other != axis]
    norms = adapted.square().sum(dim=other_axes, keepdim=True).sqrt().clamp(min=1e-12)
    added: Tensor = adapted * (magnitude.reshape(norms.shape) / norms) - base
    return added
