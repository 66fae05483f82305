"""When memory runs out, the error suggests the smallest change of the recipe that would fit."""

from pathlib import Path

import pytest
import torch

from training import recipe as recipes
from training.memory.advice import memory_advice
from training.memory.changes import PlannedRun
from zthumb import families

pytestmark = pytest.mark.slow

SDXL, GPU = families.get("sdxl"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "settings", "available_gib", "changes"),
    [
        ("sdxl_12gb", ["previews.tile=null"], 9.0, "--set previews.tile=512 "),
        ("sdxl_8gb", ["previews.prompts=[]"], 3.3, "--set quantize=nf4 "),
    ],
)
def test_it_suggests_what_would_fit_and_nothing_that_does_not_help(
    name: str, settings: list[str], available_gib: float, changes: str
) -> None:
    advice = memory_advice(PlannedRun(recipes.load(name, settings), SDXL, SDXL.references[0], GPU), int(available_gib * 2**30))
    assert f"With {changes}about " in advice, advice
    assert ("the run starts over" in advice) == ("quantize" in changes)


def test_if_nothing_would_fit_it_says_so(miniature: Path) -> None:
    advice = memory_advice(PlannedRun(recipes.load("mini"), SDXL, miniature, torch.device("cpu")), available_bytes=10**6)
    assert "Lower the resolution, or the rank." in advice
