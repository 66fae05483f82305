"""Write safetensors files that are the same bytes each time.

The safetensors library writes the metadata in an order that changes from call to call; here it is sorted. The format: the length
of the header in 8 bytes, little-endian; the header, JSON padded with spaces; the bytes of the tensors
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH_BYTES, _ALIGNMENT = 8, 8
ELEMENT_BYTES = MappingProxyType(
    {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1}
)
"""Bytes of a number by its dtype in safetensors' words."""
_LEGACY_START, _LEGACY_LENGTH = 2**20, 2**16


def write(tensors: dict[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write ``tensors`` with ``metadata`` in the header."""
    header, body = _split(tensors)
    entries = {"__metadata__": dict(sorted(metadata.items())), **json.loads(header)}
    path.write_bytes(_header(entries) + body)


def write_streamed(shapes: Mapping[str, tuple[str, tuple[int, ...]]], read: Callable[[str], Tensor], path: Path) -> None:
    """Write tensors with only one in memory at a time: ``shapes`` has dtype and shape by name, ``read`` returns one tensor."""
    import torch

    entries, end = dict[str, Any]({"__metadata__": {"format": "pt"}}), 0
    for name, (dtype, shape) in sorted(shapes.items()):
        start, end = end, end + prod(shape) * ELEMENT_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    with path.open("wb") as file:
        file.write(_header(entries))
        for name in sorted(shapes):
            file.write(read(name).reshape(-1).view(torch.uint8).numpy().data)


def body_hash(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the bytes after the header, which kohya calls the model's hash."""
    return hashlib.sha256(_split(tensors)[1]).hexdigest()


def legacy_hash(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the eight digits by which older programs identify a file: of the SHA-256 of 64 KiB of it, from 1 MiB on.

    As in kohya, the file is hashed with only those metadata keys that begin with ``ss_``.
    """
    header, body = _split(tensors)
    kohya_metadata = {key: value for key, value in sorted(metadata.items()) if key.startswith("ss_")}
    file = _header({"__metadata__": kohya_metadata, **json.loads(header)}) + body
    return hashlib.sha256(file[_LEGACY_START : _LEGACY_START + _LEGACY_LENGTH]).hexdigest()[:8]


def _header(entries: Mapping[str, Any]) -> bytes:
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _split(tensors: dict[str, Tensor]) -> tuple[bytes, bytes]:
    """Return the header, as the safetensors library writes it, and the bytes after it."""
    from safetensors.torch import save

    file = save(tensors)
    end = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    return file[_LENGTH_BYTES:end], file[end:]
