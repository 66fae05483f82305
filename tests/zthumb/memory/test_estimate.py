"""Predicted peaks of memory: of every miniature against what its allocator gave out, of published bases against their sizes."""

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.zthumb.families.conftest import TRAINED
from tests.zthumb.memory.measured import measure
from zthumb import families
from zthumb.memory.estimate import Estimate, ImageShape, estimate
from zthumb.memory.residency import Placement

GIB = 2**30


@pytest.mark.parametrize(("placement", "swaps_blocks"), [("resident", False), ("offload", False), ("offload", True)])
@pytest.mark.parametrize("name", TRAINED.values())
def test_a_predicted_peak_is_within_a_twentieth_of_the_measured_one(name: str, placement: Placement, swaps_blocks: bool) -> None:
    measured, plan = measure(ROOT / "models" / name, placement, swaps_blocks)

    assert plan.peak == pytest.approx(measured, rel=0.05)


def _estimate(family: str, name: str, height: int, width: int, images: int = 1, tile: int | None = None) -> Estimate:
    found = families.get(family)
    folder: Path = next(folder for folder in found.references if folder.name == name)
    return estimate(found, folder, ImageShape(height, width, images, tile=tile), torch.bfloat16)


def test_the_weights_of_a_published_base_are_counted_exactly() -> None:
    weights = _estimate("flux", "FLUX.1-dev", 1024, 1024).weights

    assert weights["transformer"] == 2 * 11_901_408_320
    # It decodes in fp32.
    assert weights["vae"] == 4 * 83_819_683


def test_larger_images_and_batches_take_more_and_tiles_less() -> None:
    def work(*size: int, **options: int) -> dict[str, int]:
        return dict(_estimate("sdxl", "stable-diffusion-xl-base-1.0", *size, **options).activations)

    one = work(1024, 1024)
    assert work(1344, 1344)["unet"] > one["unet"]
    assert work(1024, 1024, images=4)["unet"] > 3 * one["unet"]
    # Images are decoded one by one.
    assert work(1024, 1024, images=4)["vae"] == one["vae"]
    assert work(1024, 1024, tile=512)["vae"] < one["vae"] / 3
    assert work(768, 1344)["vae"] == pytest.approx(work(1344, 768)["vae"], rel=0.01)


@pytest.mark.parametrize("name", sorted(families.names()))
def test_every_family_can_be_estimated(name: str) -> None:
    family = families.get(name)
    for folder in family.references:
        edge = family.resolution(folder)
        estimated = estimate(family, folder, ImageShape(edge, edge), torch.bfloat16)
        assert estimated.offloaded_peak() < estimated.resident_peak
        # Decoding may take most of it.
        assert estimated.offloaded_peak(estimated.blocks_to_swap(0)) <= estimated.offloaded_peak()
        assert all(size > 0 for size in estimated.activations.values())
