"""A GGUF file as tensors with names, types and true shapes (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType
    from numpy.typing import NDArray

_TRUE_SHAPE = "comfy.gguf.orig_shape."
_PREFIX = "model.diffusion_model."
_MAGIC = b"GGUF"


@dataclass(frozen=True)
class Stored:
    """One tensor as it is stored: ``data`` are its rows, in bytes if it is quantized; ``shape`` is that of its numbers."""

    data: NDArray[Any]
    shape: tuple[int, ...]
    type: GGMLQuantizationType


@dataclass(frozen=True)
class File:
    """The denoiser in a file: its ``tensors`` by name, without a prefix, and what the file ``tells`` of itself."""

    path: Path
    tensors: Mapping[str, Stored]
    told: Mapping[str, str]

    @cached_property
    def types(self) -> dict[str, int]:
        """How many bytes there are of each type."""
        found: dict[str, int] = {}
        for tensor in self.tensors.values():
            found[tensor.type.name] = found.get(tensor.type.name, 0) + tensor.data.nbytes
        return found


def read(path: Path) -> File:
    """Open the file at ``path``; its tensors stay on the disk until they are asked for.

    Known are a denoiser alone and, as stable-diffusion.cpp writes it, a whole checkpoint, of which the denoiser is taken. Shapes
    that ComfyUI-GGUF changed for the sake of its blocks are given back. ``BadInput`` when it is no such file.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file. `zthumb convert gguf` makes one from a base.")
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BadInput(f"{path}: not a GGUF file.")
    from gguf import GGUFReader

    try:
        found = GGUFReader(path)
        fields = {name: field.contents() for name, field in found.fields.items()}
        tensors = {tensor.name: _stored(tensor, fields) for tensor in found.tensors}
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError) as error:
        reason = (str(error).splitlines() or ["no more data"])[0]
        raise BadInput(f"{path}: not a GGUF file, or cut off: {reason}.") from None
    own = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)} or tensors
    if not own:
        raise BadInput(f"{path}: no tensors are in it.")
    return File(path, own, {name: str(value) for name, value in fields.items() if not name.startswith(_TRUE_SHAPE)})


def _stored(tensor: Any, fields: Mapping[str, Any]) -> Stored:
    # The format counts axes from the last.
    stored = tuple(int(size) for size in reversed(tensor.shape))
    true = tuple(int(size) for size in fields.get(_TRUE_SHAPE + tensor.name, stored))
    if prod(true) != prod(stored):
        raise ValueError(f"{tensor.name} is told to be {true} and holds {stored}")
    return Stored(tensor.data, true, tensor.tensor_type)
