"""An adapter that rounding takes away when it is merged is told of, with the figure; one that stays is not."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.fuse import fuse
from zthumb.adapters.layouts import save_kohya
from zthumb.adapters.merged_effect import MergedEffect
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend


def test_the_figure_is_what_rounding_adds_relative_to_what_the_adapter_adds() -> None:
    effect = MergedEffect(torch.round)
    # Of a change by 1 in each of two numbers, one is lost and another is exact.
    effect.add(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.4]))
    assert effect.error == pytest.approx(0.4 / (1 + 0.16) ** 0.5)
    assert effect.warning is None
    effect.add(torch.tensor([0.0]), torch.tensor([0.45]))
    effect.add(torch.tensor([0.0]), torch.tensor([0.45]))
    assert effect.warning is not None
    assert f"{effect.error:.0%}" in effect.warning


@pytest.mark.parametrize(("strength", "is_lost"), [(1e-3, True), (0.1, False)])
def test_fusing_says_when_the_files_precision_loses_the_adapter(tmp_path: Path, strength: float, is_lost: bool) -> None:
    warning = fuse(MINIATURE, [(random_adapter(MINIATURE, strength=strength), 1.0)], tmp_path / "fused")
    assert (warning is not None) == is_lost


@pytest.mark.parametrize(("quantization", "is_lost"), [("none", False), ("int8wo", False), ("nf4", True)])
def test_a_few_step_adapter_that_quantizing_loses_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, quantization: str, is_lost: bool
) -> None:
    # Given an adapter that changes weights by a thirtieth, as those of few steps do
    file = tmp_path / "few-steps.safetensors"
    save_kohya(random_adapter(MINIATURE, strength=0.04), file, *MINI_SDXL, {})
    # When a base is loaded with it merged into its weights
    with caplog.at_level(logging.WARNING, "zthumb"):
        Backend(WeightsLocation(MINIATURE, MINIATURE, file), Options(device="cpu", quantization=quantization))  # type: ignore[arg-type]
    # Then only where four bits take most of it is it said
    assert ("few-steps.safetensors: rounding" in caplog.text) == is_lost


def test_merging_rounds_the_sum_once() -> None:
    # Given a base in bf16 and the same in fp32, with one adapter that computes in fp32
    merged = []
    for dtype in (torch.bfloat16, torch.float32):
        pipeline = families.get("sdxl").load(MINIATURE, torch.float32, torch.device("cpu"))
        unet = pipeline.unet.to(torch.bfloat16).to(dtype)
        components = {"unet": unet}
        apply.inject(components, random_adapter(MINIATURE, strength=0.1), "it", (torch.device("cpu"), torch.float32))
        apply.set_weights(apply.adapted_modules(components), {"it": 0.7})
        # When it is merged
        apply.merge(components)
        merged.append(unet.to(torch.bfloat16))
    # Then the sum in bf16 is the exact one, rounded
    assert all(torch.equal(*each) for each in zip(merged[0].parameters(), merged[1].parameters(), strict=True))


def test_a_merged_adapter_may_change_norms(tmp_path: Path) -> None:
    # Given an adapter that changes nothing but norms, which are never quantized
    weights = {"lora_unet_down_blocks_1_attentions_0_norm.diff": torch.full((128,), 0.1)}
    file = tmp_path / "norms.safetensors"
    save_file(weights, file)
    # When it is merged while the base is loaded
    backend = Backend(WeightsLocation(MINIATURE, MINIATURE, file), Options(device="cpu", quantization="int8wo"))
    # Then the norm is changed
    plain = Backend(WeightsLocation(MINIATURE, MINIATURE), Options(device="cpu"))
    changed = [backend_.pipeline.unet.get_submodule("down_blocks.1.attentions.0.norm").weight for backend_ in (backend, plain)]
    torch.testing.assert_close(changed[0], changed[1] + 0.1)
