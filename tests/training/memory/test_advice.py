"""Out of memory is answered by what would fit, as little changed as can be."""

from pathlib import Path

import pytest
import torch

from training import recipe as recipes
from training.memory.advice import advice
from zthumb import families

pytestmark = pytest.mark.slow

SDXL, GPU = families.get("sdxl"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "settings", "room", "changes"),
    [
        ("sdxl_12gb", ["previews.tile=null"], 9.0, "--set previews.tile=512 "),
        ("sdxl_8gb", ["previews.prompts=[]"], 3.3, "--set quantize=nf4 "),
    ],
)
def test_it_names_what_would_fit_and_nothing_that_does_not_help(
    name: str, settings: list[str], room: float, changes: str
) -> None:
    told = advice(recipes.load(name, settings), SDXL, SDXL.reference, GPU, int(room * 2**30))
    assert f"With {changes}about " in told, told
    assert ("the run starts over" in told) == ("quantize" in changes)


def test_where_nothing_would_fit_it_says_so(miniature: Path) -> None:
    told = advice(recipes.load("mini"), SDXL, miniature, torch.device("cpu"), room=10**6)
    assert "Lower the resolution, or the rank." in told
