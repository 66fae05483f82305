"""A base model on this disk, in the diffusers layout: its family, components and hash."""

from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_files, hash_value
from zthumb import families

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components of published bases that are neither trained nor needed to generate an image from a prompt."""
INDEX = "model_index.json"
"""The file that makes a folder a base: the names and classes of its components."""


def family_of(folder: Path) -> str:
    """Return the name of the family that a base belongs to, read from its index."""
    pipeline = read_json(folder / INDEX).get("_class_name", "")
    by_pipeline = {families.get(name).pipeline_class: name for name in families.names()}
    if pipeline not in by_pipeline:
        supported = ", ".join(by_pipeline)
        raise BadInput(f"{folder}: a {pipeline or 'nameless'} model, which is not supported. Supported: {supported}.")
    return by_pipeline[pipeline]


def hash_base(folder: Path) -> str:
    """Return one SHA-256 over the weights and configuration of a base: what its index names, and nothing else."""
    return hash_value({INDEX: hash_file(folder / INDEX), **_hashes(folder, components_of(folder))})


def components_of(folder: Path) -> list[str]:
    """Return the components that the index of a base names, that exist, and that are used here."""
    return [name for name in read_json(folder / INDEX) if (folder / name).is_dir() and name not in UNUSED]


def hash_components(folder: Path, parts: Sequence[str]) -> str:
    """Return one SHA-256 over the weights and configuration of some components of a base."""
    return hash_value(_hashes(folder, parts))


def _hashes(folder: Path, components: Sequence[str]) -> dict[str, str]:
    return {
        f"{component}/{name}": digest
        for component in components
        for pattern in ("*.safetensors", "*.json", "*.txt", "*.jinja")
        for name, digest in hash_files(folder / component, pattern).items()
    }
