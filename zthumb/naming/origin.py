"""Where in a single-file checkpoint a tensor lies that diffusers has by another name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CheckpointKey:
    """The tensor called ``name`` in the file, of which it is the ``third`` (0, 1 or 2, by rows) if that is given."""

    name: str
    third: int | None = None
    is_transposed: bool = False

    def fits(self, stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
        """Whether a tensor of shape ``stored`` in the file holds one of shape ``wanted``."""
        rows = stored[:1] if self.third is None else (stored[0] // 3,)
        found = (*rows, *stored[1:])
        # A linear projection may lie there as a convolution of one pixel.
        return _squeezed(found[::-1] if self.is_transposed else found) == _squeezed(wanted)

    def taken(self, stored: Tensor, wanted: tuple[int, ...]) -> Tensor:
        """The tensor of shape ``wanted`` out of the one ``stored`` in the file."""
        found = stored if self.third is None else stored.chunk(3)[self.third]
        return (found.T if self.is_transposed else found).reshape(wanted).contiguous()


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
