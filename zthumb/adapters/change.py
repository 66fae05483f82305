"""A change of one module that is no plain LoRA: read once, made dense where it is used."""

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
    """``tensors`` of one ``kind`` for a module whose weight has ``shape``, by what their names end with, float32.

    ``magnitude`` are the norms of a DoRA, along the first axis (outputs) or the second (``over_inputs``). It is linear in the
    weight it counts with: half of it is half the way from the base's weights to the changed ones.
    """

    kind: Kind
    tensors: Mapping[str, Tensor]
    shape: Shape
    magnitude: Tensor | None = None
    over_inputs: bool = False

    @property
    def needs_base(self) -> bool:
        """Whether the base's own weight takes part in it."""
        return self.kind.needs_base or self.magnitude is not None

    @property
    def bytes(self) -> int:
        """What its tensors take in memory."""
        tensors = [*self.tensors.values(), *([self.magnitude] if self.magnitude is not None else [])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @cached_property
    def _ready(self) -> Mapping[str, Tensor]:
        return self.tensors if self.kind.ready is None else self.kind.ready(self.tensors)

    def weight(self, base: Tensor | None) -> Tensor | None:
        """What is added to the module's weight, of its shape, float32; None where the weight stays. ``base`` is that weight."""
        changed = self.kind.weight(self._ready, self.shape, base)
        if self.magnitude is None or changed is None:
            return changed
        assert base is not None
        return decomposed(base, changed, self.magnitude, along=1 if self.over_inputs else 0)

    def bias(self) -> Tensor | None:
        """What is added to the module's bias."""
        found = next((self.tensors[name] for name in _BIASES if name in self.tensors), None)
        return None if found is None else found.flatten()

    def to(self, device: torch.device) -> Change:
        """The change on another device."""
        return self._made(lambda tensor: tensor.to(device))

    def in_dtype(self, dtype: torch.dtype) -> Change:
        """The change in another precision, to be written."""
        return self._made(lambda tensor: tensor.to(dtype))

    def _made(self, make: Callable[[Tensor], Tensor]) -> Change:
        magnitude = None if self.magnitude is None else make(self.magnitude)
        return replace(self, tensors={name: make(tensor) for name, tensor in self.tensors.items()}, magnitude=magnitude)


def decomposed(base: Tensor, change: Tensor, magnitude: Tensor, along: int) -> Tensor:
    """What a DoRA adds to ``base``, which has its ``magnitude`` for norms afterwards, one for each place ``along`` that axis."""
    whole = base + change
    axes = [axis for axis in range(whole.dim()) if axis != along]
    norms = whole.square().sum(dim=axes, keepdim=True).sqrt().clamp(min=1e-12)
    added: Tensor = whole * (magnitude.reshape(norms.shape) / norms) - base
    return added
