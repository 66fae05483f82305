"""The header of a safetensors file, read before any tensor: what it declares, and whether the file is complete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import BadInput

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE = "adapter_model.safetensors"

_LENGTH_BYTES, _MAX_LENGTH = 8, 100_000_000
_PICKLED = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Header:
    """The header of one safetensors file: the shapes and dtypes of its tensors and the strings of its metadata."""

    file: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read(path: Path) -> Header:
    """Read the header of an adapter, which is a file or a folder in the diffusers layout or PEFT's.

    Raises ``BadInput`` if there is no such file, if it is not a safetensors file, and if it ends before the tensors that it
    declares. Only safetensors files are ever opened.
    """
    file = _find_file(path)
    entries, header_end = _read_entries(file)
    metadata = entries.pop("__metadata__", {})
    try:
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in entries.items()}
        dtypes = {name: str(entry["dtype"]) for name, entry in entries.items()}
        end = header_end + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        metadata = {str(key): str(value) for key, value in metadata.items()}
        is_truncated = end > file.stat().st_size
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError):
        raise BadInput(f"{file}: not a safetensors file: its header does not describe tensors.") from None
    if is_truncated:
        raise BadInput(f"{file}: truncated: it has {file.stat().st_size:,} bytes, but its header declares {end:,}.")
    if not all(name.isprintable() for name in shapes):
        raise BadInput(f"{file}: its tensor names contain control characters.")
    return Header(file, shapes, dtypes, metadata)


def _find_file(path: Path) -> Path:
    candidates = [path / name for name in (DIFFUSERS_FILE, PEFT_FILE)] if path.is_dir() else [path]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise BadInput(f"{path}: no adapter found. Expected a .safetensors file or a folder with {DIFFUSERS_FILE}.")
    if file.suffix.lower() in _PICKLED:
        raise BadInput(f"{file}: a pickle can run any program when it is opened; get the adapter as .safetensors.")
    if file.suffix.lower() != ".safetensors":
        raise BadInput(f"{file}: only .safetensors adapters are opened; convert other formats first.")
    return file


def _read_entries(file: Path) -> tuple[dict[str, Any], int]:
    """Return the parsed header and the offset of its end in the file."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if length > _MAX_LENGTH:
            raise BadInput(f"{file}: not a safetensors file: it declares a header of {length:,} bytes.")
        if not 2 <= length <= file.stat().st_size - _LENGTH_BYTES:
            raise BadInput(f"{file}: not a safetensors file, or truncated.")
        try:
            entries = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise BadInput(f"{file}: not a safetensors file: its header is not valid JSON.") from None
    if not isinstance(entries, dict):
        raise BadInput(f"{file}: not a safetensors file: its header is not a JSON object.")
    return entries, _LENGTH_BYTES + length
