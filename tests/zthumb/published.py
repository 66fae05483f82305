"""Bases as one file, with the names that their tensors were published under."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from zthumb import families
from zthumb.checkpoints.checkpoint_key import join, names_by_key, own_tensors
from zthumb.families.base import ModelFamily
from zthumb.sources.local import family_of

SDXL = families.get("sdxl")


def parts(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of every part with weights of the base in ``folder``, by diffusers' names."""
    family = families.get(family_of(folder))
    return {part: load_file(next((folder / part).glob("*.safetensors"))) for part in family.single_file}


def published(part: str, tensors: dict[str, torch.Tensor], model: Any, family: ModelFamily = SDXL) -> dict[str, torch.Tensor]:
    """The tensors of one part as they were published, but for the beginning of their names."""
    keys = {name: key for name, key in family.checkpoint_keys(part, model).items() if name in tensors}
    return {name: join([(keys[piece], tensors[piece]) for piece in pieces]) for name, pieces in names_by_key(keys).items()}


def write_single_file(base: Path, path: Path, **extra: torch.Tensor) -> Path:
    """The base in ``base`` as one file."""
    tensors, family = dict[str, torch.Tensor](extra), families.get(family_of(base))
    for part, own in parts(base).items():
        with torch.device("meta"):
            model = family.build_component(part, family.configuration(base, part))
        # As the model calls them, whatever version of transformers wrote the file.
        names = {family.file_path(part, name): tensor for name, tensor in own.items()}
        called = {name: names[family.file_path(part, name)] for name in own_tensors(model)}
        own_published = published(part, called, model, family)
        tensors |= {family.single_file[part] + name: tensor for name, tensor in own_published.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
