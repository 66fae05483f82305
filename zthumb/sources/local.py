"""A base model on this disk: found, recognised, identified by its hash."""

from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_files, hash_value

_FAMILIES = {"StableDiffusionXLPipeline": "sdxl"}


def find_base(reference: str) -> Path:
    """The folder of a base model; ``BadInput`` says how to get one that is not there."""
    folder = Path(reference)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.name == "mini-sdxl":
        raise BadInput(
            f"{folder}: the embedded base is not there. Run `make mini_base`, or `git checkout -- {folder}` if it was deleted."
        )
    raise BadInput(
        f"{folder}: no base model is there. Put a model in the diffusers layout (a folder with model_index.json) at this path; "
        "SDXL base 1.0 comes with `python -m zthumb.scripts.download_models sdxl-base-1.0`."
    )


def family_of(folder: Path) -> str:
    """The name of the family a base belongs to, read from its ``model_index.json``."""
    pipeline = read_json(folder / "model_index.json").get("_class_name", "")
    if pipeline not in _FAMILIES:
        raise BadInput(f"{folder}: a {pipeline or 'nameless'} model, which is not supported. Supported: {', '.join(_FAMILIES)}.")
    return _FAMILIES[pipeline]


def hash_base(folder: Path) -> str:
    """One SHA-256 over the weights and configuration of a base: what its ``model_index.json`` names, and nothing beside it."""
    parts = [name for name in read_json(folder / "model_index.json") if (folder / name).is_dir()]
    return hash_value({"model_index.json": hash_file(folder / "model_index.json"), **_hashes(folder, parts)})


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
