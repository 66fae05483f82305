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
class StoredTensor:
    """One tensor as it is stored: ``data`` are its rows, as bytes if it is quantized; ``shape`` is that of its values."""

    data: NDArray[Any]
    shape: tuple[int, ...]
    type: GGMLQuantizationType


@dataclass(frozen=True)
class GgufFile:
    """The denoiser in a file: its ``tensors`` by name, without a prefix, and the ``metadata`` of the file."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]

    @cached_property
    def bytes_by_type(self) -> dict[str, int]:
        """Return the number of bytes of each quantization type."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.data.nbytes
        return sizes


def read_gguf(path: Path) -> GgufFile:
    """Open the file at ``path``; its tensors stay on the disk until they are used.

    Supports a file that is only a denoiser and, as stable-diffusion.cpp writes it, a whole checkpoint, of which the denoiser is
    taken. Shapes that ComfyUI-GGUF changed to fill its blocks are restored. Raises ``BadInput`` for any other file.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file. `zthumb convert gguf` makes one from a base.")
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BadInput(f"{path}: not a GGUF file.")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        stored = {tensor.name: _stored_tensor(tensor, fields) for tensor in reader.tensors}
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError) as error:
        reason = (str(error).splitlines() or ["no more data"])[0]
        raise BadInput(f"{path}: not a GGUF file, or truncated: {reason}.") from None
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in stored.items() if name.startswith(_PREFIX)} or stored
    if not tensors:
        raise BadInput(f"{path}: contains no tensors.")
    return GgufFile(path, tensors, {name: str(value) for name, value in fields.items() if not name.startswith(_TRUE_SHAPE)})


def _stored_tensor(tensor: Any, fields: Mapping[str, Any]) -> StoredTensor:
    # The format lists axes from the last to the first.
    stored = tuple(int(size) for size in reversed(tensor.shape))
    true = tuple(int(size) for size in fields.get(_TRUE_SHAPE + tensor.name, stored))
    if prod(true) != prod(stored):
        raise ValueError(f"{tensor.name} is declared as {true} and stored as {stored}")
    return StoredTensor(tensor.data, true, tensor.tensor_type)
