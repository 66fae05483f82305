"""Plans within a budget: the field's guide, row by row, and budgets that nothing fits into."""

import pytest
import torch

from foundation.errors import BadInput
from tests.conftest import ROOT
from zthumb import families
from zthumb.memory import budget
from zthumb.memory.estimate import ImageShape
from zthumb.memory.plan import Plan, Subject, choose, plans

GUIDE: list[tuple[str, str, int, int, str, str]] = [
    ("sd15", "small-sd", 512, 2, "offload", "none"),
    ("sd15", "stable-diffusion-v1-5", 512, 3, "offload", "none"),
    ("sd15", "stable-diffusion-v1-5", 512, 4, "resident", "none"),
    ("sd15", "stable-diffusion-v1-5", 512, 6, "resident", "none"),
    ("sdxl", "stable-diffusion-xl-base-1.0", 1024, 4, "swap", "none"),
    ("sdxl", "stable-diffusion-xl-base-1.0", 1024, 6, "offload", "none"),
    ("sdxl", "stable-diffusion-xl-base-1.0", 1024, 8, "offload", "none"),
    ("sdxl", "stable-diffusion-xl-base-1.0", 1024, 12, "resident", "none"),
    ("flux", "FLUX.1-dev", 1024, 8, "swap", "int8wo"),
    ("flux", "FLUX.1-dev", 1024, 12, "swap", "int8wo"),
    ("flux", "FLUX.1-dev", 1024, 16, "offload", "int8wo"),
    ("flux", "FLUX.1-dev", 1024, 24, "swap", "none"),
    ("z_image", "Z-Image", 1024, 8, "swap", "int8wo"),
    ("z_image", "Z-Image", 1024, 16, "offload", "none"),
    ("flux2", "FLUX.2-klein-4B", 1024, 8, "swap", "none"),
    ("flux2", "FLUX.2-klein-4B", 1024, 16, "offload", "none"),
    ("flux2_dev", "FLUX.2-dev", 1024, 24, "swap", "int8wo"),
    ("qwen_image", "Qwen-Image", 1328, 12, "swap", "int8wo"),
    ("qwen_image", "Qwen-Image", 1328, 16, "swap", "int8wo"),
    ("qwen_image", "Qwen-Image", 1328, 24, "offload", "int8wo"),
]
"""Family, base, edge in pixels, a card's gigabytes, and how the weights are kept: offloaded ones with blocks swapped or whole."""

DOCUMENT = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
USABLE = 0.93
"""The share of a card that is free beside torch's own context and the screen."""


@pytest.mark.parametrize(("family", "base", "edge", "size", "placement", "quantization"), GUIDE)
def test_the_guides_cards_generate_with_the_guides_bases(
    family: str, base: str, edge: int, size: int, placement: str, quantization: str
) -> None:
    available = int(USABLE * size * 2**30)
    plan = choose(_plans(family, base, edge, available), available)

    assert ("swap" if plan.swapped else plan.placement, plan.quantization) == (placement, quantization)
    assert plan.peak <= USABLE * size * 2**30
    assert f"| {size} GB | {base} | {plan.words} | {budget.shown(plan.peak)} |" in DOCUMENT


def test_what_fits_nowhere_is_refused_with_the_least_that_is_possible() -> None:
    with pytest.raises(BadInput, match=r"nothing fits into 1.0 GiB. The least that is possible is 1\.\d GiB: one component at"):
        choose(_plans("flux", "FLUX.1-dev", 1024, 2**30), 2**30)


def test_as_few_blocks_are_swapped_as_the_budget_allows() -> None:
    small, large = (choose(_plans("flux", "FLUX.1-dev", 1024, size * 2**30), size * 2**30) for size in (6, 9))

    assert 0 < large.blocks_to_swap["transformer"] < small.blocks_to_swap["transformer"]
    # A step moves what is swapped: more of it takes longer.
    assert large.transfer_s < small.transfer_s
    assert 0.9 * 9 * 2**30 < large.peak <= 9 * 2**30


def test_each_way_takes_less_memory_and_costs_more_than_the_one_before() -> None:
    found = _plans("flux", "FLUX.1-dev", 1024)

    assert [plan.peak for plan in found] == sorted((plan.peak for plan in found), reverse=True)
    assert [plan.cost for plan in found] == sorted(plan.cost for plan in found)
    assert found[0].cost == 0


def test_offloading_to_main_memory_says_how_much_of_it() -> None:
    plan = next(plan for plan in _plans("sdxl", "stable-diffusion-xl-base-1.0", 1024) if plan.placement == "offload")

    assert plan.main_memory == pytest.approx(6.46 * 2**30, rel=0.02)
    assert plan.transfer_s > 0


@pytest.mark.parametrize(
    ("text", "size"), [("12GB", 12 * 2**30), ("6.5 GiB", 6.5 * 2**30), ("800mb", 800 * 2**20), ("8g", 2**33)]
)
def test_a_budget_is_read_as_people_write_it(text: str, size: float) -> None:
    assert budget.parse(text, torch.device("cpu")) == size


@pytest.mark.parametrize("text", ["12", "a lot", "GB", "-3GB", "12TB"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 12GB, 800MB, or auto"):
        budget.check(text)


def test_auto_is_most_of_what_is_free() -> None:
    assert 0 < budget.parse("auto", torch.device("cpu")) < torch.iinfo(torch.int64).max


def _plans(name: str, base: str, edge: int, budget: int = 0) -> list[Plan]:
    family = families.get(name)
    folder = next(folder for folder in family.references if folder.name == base)
    return plans(Subject(family, folder, torch.bfloat16, "cuda"), ImageShape(edge, edge), budget=budget)
