"""The header of a safetensors file, read before any of its tensors: what it announces, and whether all of it is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import BadInput

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE = "adapter_model.safetensors"

_LENGTH, _LIMIT = 8, 100_000_000
_PICKLED = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Header:
    """One safetensors file: the shapes and dtypes of its tensors and the strings of its metadata."""

    file: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read(path: Path) -> Header:
    """Read the header of an adapter, given as a file or as a folder in the diffusers layout or PEFT's.

    Raises ``BadInput`` when there is no such file, when it is no safetensors file, and when tensors it announces are not there;
    nothing but safetensors is ever opened.
    """
    file = _file(path)
    entries, end_of_header = _entries(file)
    metadata = entries.pop("__metadata__", {})
    try:
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in entries.items()}
        dtypes = {name: str(entry["dtype"]) for name, entry in entries.items()}
        end = end_of_header + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        metadata = {str(key): str(value) for key, value in metadata.items()}
        is_cut_off = end > file.stat().st_size
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError):
        raise BadInput(f"{file}: not a safetensors file: its header describes no tensors.") from None
    if is_cut_off:
        raise BadInput(f"{file}: cut off: {file.stat().st_size:,} bytes are there, {end:,} are announced.")
    if not all(name.isprintable() for name in shapes):
        raise BadInput(f"{file}: the names of its tensors hold control characters.")
    return Header(file, shapes, dtypes, metadata)


def _file(path: Path) -> Path:
    inside = [path / name for name in (DIFFUSERS_FILE, PEFT_FILE)] if path.is_dir() else [path]
    file = next((each for each in inside if each.is_file()), None)
    if file is None:
        raise BadInput(f"{path}: no adapter is there. Expected a .safetensors file or a folder with {DIFFUSERS_FILE}.")
    if file.suffix.lower() in _PICKLED:
        raise BadInput(f"{file}: a pickle can run any program when it is opened; ask for the adapter as .safetensors.")
    if file.suffix.lower() != ".safetensors":
        raise BadInput(f"{file}: only .safetensors adapters are opened; convert other formats first.")
    return file


def _entries(file: Path) -> tuple[dict[str, Any], int]:
    """What the header says, and where it ends."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH), "little")
        if length > _LIMIT:
            raise BadInput(f"{file}: not a safetensors file: it announces a header of {length:,} bytes.")
        if not 2 <= length <= file.stat().st_size - _LENGTH:
            raise BadInput(f"{file}: not a safetensors file, or cut off.")
        try:
            entries = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise BadInput(f"{file}: not a safetensors file: its header is no JSON.") from None
    if not isinstance(entries, dict):
        raise BadInput(f"{file}: not a safetensors file: its header is no JSON object.")
    return entries, _LENGTH + length
