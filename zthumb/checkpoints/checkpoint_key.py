"""The place of a tensor in a published checkpoint, where diffusers has it under another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Rows(NamedTuple):
    """Some rows of a tensor that several are stored in, one below the other: ``start`` / ``of`` … ``stop`` / ``of`` of all."""

    start: int
    stop: int
    of: int

    def among(self, count: int) -> slice:
        """Return these rows as a slice of ``count`` rows."""
        return slice(count * self.start // self.of, count * self.stop // self.of)


WHOLE = Rows(0, 1, 1)


@dataclass(frozen=True)
class CheckpointKey:
    """The tensor called ``name`` in the file, or some ``rows`` of it.

    ``halves_swapped``: its upper and lower half change places, as where the file has shift and scale in another order.
    """

    name: str
    rows: Rows = WHOLE
    is_transposed: bool = False
    halves_swapped: bool = False

    def with_prefix(self, prefix: str) -> CheckpointKey:
        """Return the same place in a file whose names begin with ``prefix``."""
        return replace(self, name=prefix + self.name)

    def fits(self, stored: tuple[int, ...], expected: tuple[int, ...]) -> bool:
        """Whether a tensor of shape ``stored`` in the file holds one of shape ``expected``."""
        shape = stored
        if self.rows != WHOLE:
            if not stored or stored[0] % self.rows.of:
                return False
            selected = self.rows.among(stored[0])
            shape = (selected.stop - selected.start, *stored[1:])
        # A linear projection may be stored as a convolution of one pixel.
        return _squeezed(shape[::-1] if self.is_transposed else shape) == _squeezed(expected)

    def select(self, stored: Tensor) -> Tensor:
        """Return the rows of the one ``stored`` in the file, in diffusers' order."""
        tensor = stored if self.rows == WHOLE else stored[self.rows.among(len(stored))]
        return _swapped(tensor) if self.halves_swapped else tensor

    def extract(self, stored: Tensor, expected: tuple[int, ...]) -> Tensor:
        """Return the tensor of shape ``expected`` from the one ``stored`` in the file."""
        tensor = self.select(stored)
        return (tensor.T if self.is_transposed else tensor).reshape(expected).contiguous()


def names_by_key(keys: Mapping[str, CheckpointKey]) -> dict[str, list[str]]:
    """Return by name in the file the names in diffusers of the tensors stored in it, from its first row to its last."""
    grouped: dict[str, list[str]] = {}
    for name in sorted(keys, key=lambda name: (keys[name].name, keys[name].rows.start / keys[name].rows.of)):
        grouped.setdefault(keys[name].name, []).append(name)
    return grouped


def own_tensors(model: Any) -> dict[str, Tensor]:
    """Return the tensors of ``model`` that a file has, by name: those that are tied to another one are in it once."""
    tensors: dict[str, Tensor] = {}
    seen = set[int]()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def join(parts: Sequence[tuple[CheckpointKey, Tensor]]) -> Tensor:
    """Return the tensor of a file that stores ``parts``, from its first row to its last: the inverse of ``extract``."""
    import torch

    tensors = [_swapped(tensor) if key.halves_swapped else tensor for key, tensor in parts]
    joined = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    return (joined.T if parts[0][0].is_transposed else joined).contiguous()


def _swapped(tensor: Tensor) -> Tensor:
    import torch

    return torch.cat(tensor.chunk(2)[::-1])


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
