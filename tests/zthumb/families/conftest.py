"""The miniature of every model family, which the contract tests run over."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from zthumb import families
from zthumb.families.base import ModelFamily

MINIATURES = {"sd15": "mini-sd15", "sdxl": "mini-sdxl"}


@pytest.fixture(scope="module", params=sorted(MINIATURES))
def family(request: pytest.FixtureRequest) -> ModelFamily:
    return families.get(request.param)


@pytest.fixture(scope="module")
def folder(family: ModelFamily) -> Path:
    return ROOT / "models" / MINIATURES[family.name]


@pytest.fixture(scope="module")
def pipeline(family: ModelFamily, folder: Path) -> Any:
    return family.load(folder, torch.float32, torch.device("cpu"))
