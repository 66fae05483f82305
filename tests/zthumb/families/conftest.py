"""The miniature of every model family, which the contract tests run over; random weights where none is trained yet."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.zthumb.families import random_miniatures
from zthumb import families
from zthumb.families.base import ModelFamily

TRAINED = MappingProxyType({"sd15": "mini-sd15", "sdxl": "mini-sdxl"})
RANDOM: MappingProxyType[str, Callable[[Path, Path], None]] = MappingProxyType(
    {"flux": random_miniatures.write_flux, "z_image": random_miniatures.write_z_image}
)

OPTIONS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {"flux": {"max_sequence_length": 40}, "z_image": {"max_sequence_length": 64}}
)
"""What diffusers' pipeline has to be told of a miniature, which is shorter than the bases it was written for."""


@pytest.fixture(scope="module", params=sorted([*TRAINED, *RANDOM]))
def family(request: pytest.FixtureRequest) -> ModelFamily:
    return families.get(request.param)


@pytest.fixture(scope="module")
def folder(family: ModelFamily, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if family.name in TRAINED:
        return ROOT / "models" / TRAINED[family.name]
    models = tmp_path_factory.mktemp("models")
    (models / "mini-sdxl").symlink_to(ROOT / "models" / "mini-sdxl")
    target = models / f"mini-{family.name}"
    RANDOM[family.name](models / "mini-sdxl", target)
    return target


@pytest.fixture(scope="module")
def pipeline(family: ModelFamily, folder: Path) -> Any:
    return family.load(folder, torch.float32, torch.device("cpu"))
