"""Shared fixtures: the root of the checkout, the miniature, a small data set."""

from pathlib import Path

import pytest

from miniature import concept

pytest_plugins = ["tests.faults"]

ROOT = Path(__file__).resolve().parent.parent
MINIATURE = ROOT / "models" / "mini-sdxl"


@pytest.fixture
def miniature() -> Path:
    """Return the folder of the base model that comes with this checkout."""
    return MINIATURE


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a folder with raw images and captions of a badge, laid out as a user would."""
    folder = tmp_path / "badges"
    concept.write("letter-z", "zbadge", folder)
    return folder
