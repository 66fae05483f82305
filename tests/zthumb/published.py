"""Bases as one file, with the names that their tensors were published under."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from zthumb import families
from zthumb.checkpoints.clip_keys import inside_text_model
from zthumb.families.base import ModelFamily
from zthumb.sources.local import family_of

SDXL = families.get("sdxl")


def parts(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of every part with weights of the base in ``folder``, by diffusers' names."""
    family = families.get(family_of(folder))
    return {part: load_file(next((folder / part).glob("*.safetensors"))) for part in family.single_file}


def published(part: str, tensors: dict[str, torch.Tensor], model: Any, family: ModelFamily = SDXL) -> dict[str, torch.Tensor]:
    """The tensors of one part as they were published, but for the beginning of their names."""
    origins, found = family.checkpoint_keys(part, model), dict[str, torch.Tensor]()
    for name, tensor in tensors.items():
        origin = origins[name]
        if origin.third is not None:
            pieces = [each for each in origins if origins[each].name == origin.name]
            tensor = torch.cat([tensors[each] for each in sorted(pieces, key=lambda each: origins[each].third or 0)])
        found[origin.name] = (tensor.T if origin.is_transposed else tensor).contiguous()
    return found


def write_single_file(base: Path, path: Path, **extra: torch.Tensor) -> Path:
    """The base in ``base`` as one file."""
    tensors, family = dict[str, torch.Tensor](extra), families.get(family_of(base))
    for part, own in parts(base).items():
        with torch.device("meta"):
            model = family.build_component(part, family.configuration(base, part))
        # As the model calls them, whatever version of transformers wrote the file.
        names = {inside_text_model(name) if part.startswith("text") else name: tensor for name, tensor in own.items()}
        called = {name: names[inside_text_model(name) if part.startswith("text") else name] for name in model.state_dict()}
        own_published = published(part, called, model, family)
        tensors |= {family.single_file[part] + name: tensor for name, tensor in own_published.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
