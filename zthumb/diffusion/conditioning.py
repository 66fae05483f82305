"""What a denoiser is conditioned on, opaque to all code but the model family that made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """The conditioning of B images: ``tensors`` holds, by name, one tensor for each image.

    The tensors of one name may differ in length between images. Their meaning is known to the model family alone.
    """

    tensors: Mapping[str, tuple[Tensor, ...]]

    @classmethod
    def stacked(cls, **tensors: Tensor) -> Conditioning:
        """Return the conditioning of B images from tensors whose first dimension is B."""
        return cls({name: tensor.unbind(0) for name, tensor in tensors.items()})

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def stack(self, name: str) -> Tensor:
        """Return the tensors of ``name``, which must be of one shape, with B as the first dimension."""
        import torch

        return torch.stack(self.tensors[name])

    def select(self, chosen: Sequence[int] | Tensor) -> Conditioning:
        """Return the conditioning of some images, by index or by a boolean mask (B,)."""
        indices = list(_indices(chosen))
        return Conditioning({name: tuple(values[index] for index in indices) for name, values in self.tensors.items()})

    def concat(self, other: Conditioning) -> Conditioning:
        """Return the conditioning of both, one after the other; both have the same names."""
        return Conditioning({name: values + other.tensors[name] for name, values in self.tensors.items()})

    def merge(self, **tensors: Tensor) -> Conditioning:
        """Return this conditioning with tensors (B, …) added, or put in the place of those of the same name."""
        return Conditioning({**self.tensors, **Conditioning.stacked(**tensors).tensors})

    def override(self, mask: Sequence[bool], by: Conditioning) -> Conditioning:
        """Return this conditioning with the tensors of ``by``, of one image, where ``mask`` (B,) is true.

        Names that ``by`` does not have stay as they are.
        """
        tensors = dict(self.tensors)
        for name, (replacement,) in by.tensors.items():
            if name in tensors:
                pairs = zip(tensors[name], mask, strict=True)
                tensors[name] = tuple(replacement.to(value) if is_replaced else value for value, is_replaced in pairs)
        return Conditioning(tensors)

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Conditioning:
        """Return this conditioning on ``device``; ``dtype`` is for floating-point tensors alone."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

        return Conditioning({name: tuple(moved(value) for value in values) for name, values in self.tensors.items()})


def _indices(chosen: Sequence[int] | Tensor) -> Iterator[int]:
    values = chosen if isinstance(chosen, Sequence) else chosen.tolist()
    for index, value in enumerate(values):
        if isinstance(value, bool):
            if value:
                yield index
        else:
            yield int(value)
