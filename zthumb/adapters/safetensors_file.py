"""Safetensors files that are the same bytes each time they are written.

The library writes a header's metadata in an order that changes from call to call; here it is sorted. The format: the
header's length in 8 bytes, little-endian; the header, JSON padded with spaces; the tensors' bytes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH, _ALIGNMENT = 8, 8
_LEGACY_START, _LEGACY_LENGTH = 2**20, 2**16


def write(tensors: dict[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write ``tensors`` with ``metadata`` in the header."""
    header, body = _split(tensors)
    entries = {"__metadata__": dict(sorted(metadata.items())), **json.loads(header)}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path.write_bytes(len(text).to_bytes(_LENGTH, "little") + text + body)


def body_hash(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the bytes after the header, which kohya calls the model's hash."""
    return hashlib.sha256(_split(tensors)[1]).hexdigest()


def legacy_hash(tensors: dict[str, Tensor]) -> str:
    """Eight digits by which older programs name a file: of the SHA-256 of 64 KiB of it, one MiB from its start."""
    header, body = _split(tensors)
    file = len(header).to_bytes(_LENGTH, "little") + header + body
    return hashlib.sha256(file[_LEGACY_START : _LEGACY_START + _LEGACY_LENGTH]).hexdigest()[:8]


def _split(tensors: dict[str, Tensor]) -> tuple[bytes, bytes]:
    from safetensors.torch import save

    file = save(tensors)
    end = _LENGTH + int.from_bytes(file[:_LENGTH], "little")
    return file[_LENGTH:end], file[end:]
