"""What several tests need: the root of the checkout, the miniature, a small data set."""

from pathlib import Path

import pytest

from miniature import concept

pytest_plugins = ["tests.faults"]

ROOT = Path(__file__).resolve().parent.parent
MINIATURE = ROOT / "models" / "mini-sdxl"


@pytest.fixture
def miniature() -> Path:
    """The base of this checkout."""
    return MINIATURE


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Raw images and captions of a badge, as a person would lay them out."""
    folder = tmp_path / "badges"
    concept.write("letter-z", "zbadge", folder)
    return folder
