"""A base model on this disk, in the diffusers layout: recognised, identified by its hash."""

from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_files, hash_value

INDEX = "model_index.json"
"""What makes a folder a base: the names and classes of its parts."""
_FAMILIES = {"StableDiffusionXLPipeline": "sdxl"}


def family_of(folder: Path) -> str:
    """The name of the family a base belongs to, read from its index."""
    pipeline = read_json(folder / INDEX).get("_class_name", "")
    if pipeline not in _FAMILIES:
        raise BadInput(f"{folder}: a {pipeline or 'nameless'} model, which is not supported. Supported: {', '.join(_FAMILIES)}.")
    return _FAMILIES[pipeline]


def hash_base(folder: Path) -> str:
    """One SHA-256 over the weights and configuration of a base: what its index names, and nothing beside it."""
    return hash_value({INDEX: hash_file(folder / INDEX), **_hashes(folder, parts_of(folder))})


def parts_of(folder: Path) -> list[str]:
    """The parts of a base that its index names and that are there."""
    return [name for name in read_json(folder / INDEX) if (folder / name).is_dir()]


def hash_parts(folder: Path, parts: Sequence[str]) -> str:
    """One SHA-256 over the weights and configuration of some ``parts`` of a base."""
    return hash_value(_hashes(folder, parts))


def _hashes(folder: Path, parts: Sequence[str]) -> dict[str, str]:
    return {
        f"{part}/{name}": digest
        for part in parts
        for pattern in ("*.safetensors", "*.json", "*.txt")
        for name, digest in hash_files(folder / part, pattern).items()
    }
