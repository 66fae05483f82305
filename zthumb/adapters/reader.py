"""A LoRA file looked at before it is applied: is it one, and does it fit this base?"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from foundation.hashing import hash_file
from zthumb.adapters.layouts import DIFFUSERS_FILE
from zthumb.adapters.names import to_kohya

if TYPE_CHECKING:
    from torch import nn

_HEADER_LIMIT = 100_000_000
_DOWN, _UP = (".lora_A.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_up.weight")
_TEXT_ENCODER = ("lora_te", "text_encoder")


@dataclass(frozen=True)
class AdapterFile:
    """One LoRA file: the shapes of its tensors and the strings of its header."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole file."""
        return hash_file(self.path)


def read(path: Path) -> AdapterFile:
    """Read the header of a safetensors LoRA, given as a file or as a folder in the diffusers layout.

    Raises ``BadInput`` when there is no such file or it is no safetensors file; nothing but safetensors is ever opened.
    """
    file = path / DIFFUSERS_FILE if path.is_dir() else path
    if not file.is_file():
        raise BadInput(f"{path}: no adapter is there. Expected a .safetensors file or a folder with {DIFFUSERS_FILE}.")
    if file.suffix != ".safetensors":
        raise BadInput(f"{file}: only .safetensors adapters are opened; convert other formats first.")
    header = _header(file)
    metadata = header.pop("__metadata__", {})
    try:
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (TypeError, KeyError, IndexError):
        raise BadInput(f"{file}: not a safetensors file: its header describes no tensors.") from None
    if end > file.stat().st_size:
        raise BadInput(f"{file}: cut off: {file.stat().st_size:,} bytes are there, {end:,} of tensors are announced.")
    return AdapterFile(file, shapes, metadata)


def check_fits(adapter: AdapterFile, unet: nn.Module, layers_per_block: int) -> None:
    """Raise ``BadInput`` unless the adapter holds weights for ``unet`` and every one of them has the right shape.

    Weights for text encoders are left to the loader.
    """
    modules = {name: module for name, module in unet.named_modules() if hasattr(module, "weight")}
    kohya = _kohya_names(modules, layers_per_block)
    matched = 0
    for key, shape in adapter.shapes.items():
        if key.startswith(_TEXT_ENCODER) or not key.endswith((*_DOWN, *_UP)):
            continue
        module = _module_of(key, modules, kohya)
        side = 1 if key.endswith(_DOWN) else 0
        if module is None or len(shape) < 2 or shape[side] != module.weight.shape[side]:
            raise BadInput(f"{adapter.path}: an adapter for another base: {key} {shape} does not fit this model.")
        matched += 1
    if matched == 0:
        raise BadInput(f"{adapter.path}: no LoRA weights for a UNet are in it.")


def _kohya_names(modules: dict[str, nn.Module], layers_per_block: int) -> dict[str, str]:
    """Kohya's name → path, for the original block names and for diffusers' own, which some programs write."""
    names = {"lora_unet_" + name.replace(".", "_"): name for name in modules}
    for name in modules:
        with contextlib.suppress(ValueError):
            names[to_kohya(name, layers_per_block)] = name
    return names


def _module_of(key: str, modules: dict[str, nn.Module], kohya: dict[str, str]) -> Any:
    stem = key
    for ending in (*_DOWN, *_UP):
        stem = stem.removesuffix(ending)
    name = kohya.get(stem) if stem.startswith("lora_unet_") else stem.removeprefix("unet.")
    return modules.get(name) if name else None


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_HEADER_LIMIT, file.stat().st_size - 8):
            raise BadInput(f"{file}: not a safetensors file, or cut off.")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise BadInput(f"{file}: not a safetensors file: its header is no JSON.") from None
    if not isinstance(header, dict):
        raise BadInput(f"{file}: not a safetensors file: its header is no JSON object.")
    return header
