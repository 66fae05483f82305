"""The place of a tensor in a published checkpoint, where diffusers has it under another name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CheckpointKey:
    """The tensor called ``name`` in the file, or its ``third`` (0, 1 or 2, by rows) if that is given."""

    name: str
    third: int | None = None
    is_transposed: bool = False

    def with_prefix(self, prefix: str) -> CheckpointKey:
        """Return the same place in a file whose names begin with ``prefix``."""
        return replace(self, name=prefix + self.name)

    def fits(self, stored: tuple[int, ...], expected: tuple[int, ...]) -> bool:
        """Whether a tensor of shape ``stored`` in the file holds one of shape ``expected``."""
        rows = stored[:1] if self.third is None else (stored[0] // 3,)
        shape = (*rows, *stored[1:])
        # A linear projection may be stored as a convolution of one pixel.
        return _squeezed(shape[::-1] if self.is_transposed else shape) == _squeezed(expected)

    def extract(self, stored: Tensor, expected: tuple[int, ...]) -> Tensor:
        """Return the tensor of shape ``expected`` from the one ``stored`` in the file."""
        tensor = stored if self.third is None else stored.chunk(3)[self.third]
        return (tensor.T if self.is_transposed else tensor).reshape(expected).contiguous()


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
