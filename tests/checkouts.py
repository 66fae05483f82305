"""A copy of all that the stages need, so that the real outputs do not change, and a recipe with which they take seconds."""

import shutil
from pathlib import Path

from tests.conftest import ROOT

TINY = "steps=4 batch_size=2 prior.images=4 prior.batch_size=2 prior.steps=2 checkpoint_every=2 previews.steps=2 "
TINY += "validation.strata=1 validation.noises=1"
TINY_CHANGES = {
    "steps": 4,
    "batch_size": 2,
    "checkpoint_every": 2,
    "prior": {"images": 4, "batch_size": 2, "steps": 2},
    "previews": {"steps": 2},
    "validation": {"strata": 1, "noises": 1},
}
"""The same as they stand in a recipe."""

PROMPTS = """
trained: ['a photo of a red {trigger}']
control: ['a photo of a red star']
seeds: [1]
scales: [0, 0.8]
extractors: [pixel]
steps: 3
"""


def copy_checkout(copy: Path, miniature: Path) -> Path:
    """Copy the packages, the scripts and the demo's images to ``copy``, with the miniature base beside them."""
    for name in ("foundation", "training", "zthumb", "evaluation", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copytree(ROOT / "datasets" / "z" / "raw", copy / "datasets" / "z" / "raw")
    shutil.copy(ROOT / "datasets" / "z" / "concept.yaml", copy / "datasets" / "z")
    (copy / "models").mkdir()
    (copy / "models" / "mini-sdxl").symlink_to(miniature)
    (copy / "prompts.yaml").write_text(PROMPTS)
    return copy
