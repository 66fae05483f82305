"""Weights of a finished stage of a build that is not finished: whoever goes on with it need not train that stage again.

Training in several cycles takes longer than a machine may be kept. The weights are in half precision, and go when the miniature
is there.
"""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.errors import BadInput
from foundation.files import atomic_file
from miniature.architectures.base import Architecture

FOLDER = Path(__file__).parent / "stages"
ArchitectureT = TypeVar("ArchitectureT", bound=Architecture)


def restore(name: str, model: ArchitectureT, folder: Path = FOLDER) -> ArchitectureT | None:
    """Return ``model`` with the weights that were kept of stage ``name``; None, and ``model`` unchanged, if there are none."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        return None
    weights, trained = load_file(path), _trained(model)
    if weights.keys() != trained.keys():
        raise BadInput(f"{path}: was kept of another model. Delete it, and the stage is trained again.")
    for key, value in weights.items():
        trained[key].copy_(value)
    return model


def keep(name: str, model: Architecture, folder: Path = FOLDER) -> None:
    """Keep what was trained of ``model``."""
    weights = {key: value.to("cpu", torch.float16) for key, value in _trained(model).items()}
    folder.mkdir(exist_ok=True)
    with atomic_file(folder / f"{name}.safetensors") as path:
        save_file(weights, path)


def _trained(model: Architecture) -> dict[str, Tensor]:
    """Return what is trained of ``model``, by name; a weight that has two is there once."""
    return {key: parameter.detach() for key, parameter in model.named_parameters() if parameter.requires_grad}
