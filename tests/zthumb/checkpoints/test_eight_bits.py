"""Checkpoints in fp8 as ComfyUI's users have them: read as the weights that they stand for, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.errors import BadInput
from tests.zthumb.published import write_single_file
from zthumb.checkpoints.single_file import SingleFile
from zthumb.sources.bases import find_base

LARGEST = 448.0
"""The largest number of float8_e4m3fn."""
UNET = "unet/diffusion_pytorch_model.safetensors"


def _plain(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.to(torch.float8_e4m3fn)}


def _one_scale(ending: str) -> Callable[[str, Tensor], dict[str, Tensor]]:
    def store(name: str, weight: Tensor) -> dict[str, Tensor]:
        scale = weight.abs().max().clamp(min=1e-12) / LARGEST
        base = name.removesuffix(".weight")
        return {
            name: (weight / scale).to(torch.float8_e4m3fn),
            f"{base}{ending}": scale,
            f"{base}.input_scale": torch.tensor(1.0),
        }

    return store


def _a_scale_for_each_row(name: str, weight: Tensor) -> dict[str, Tensor]:
    scale = weight.abs().amax(dim=1).clamp(min=1e-12) / LARGEST
    return {
        name: (weight / scale[:, None]).to(torch.float8_e4m3fn),
        f"{name.removesuffix('.weight')}.weight_scale": scale[:, None],
    }


LAYOUTS = {
    "fp8": _plain,
    "scale_weight": _one_scale(".scale_weight"),
    "weight_scale": _one_scale(".weight_scale"),
    "rows": _a_scale_for_each_row,
}


@pytest.fixture
def models(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(miniature)
    return tmp_path / "models"


@pytest.mark.slow
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_checkpoint_in_fp8_is_converted_to_the_weights_that_it_stands_for(models: Path, layout: str) -> None:
    # Given the linear weights of a checkpoint's UNet in eight bits
    tensors = load_file(write_single_file(models / "mini-sdxl", models / "whole.safetensors"))
    names = [name for name, value in tensors.items() if name.startswith("model.diffusion_model.") and value.dim() == 2]
    names = [name for name in names if name.endswith(".weight")]
    for name in names:
        tensors |= LAYOUTS[layout](name, tensors[name].float())
    save_file({**tensors, "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, models / "eight.safetensors")

    converted = load_file(find_base("models/eight.safetensors") / UNET)

    original = load_file(models / "mini-sdxl" / UNET)
    changed = 0
    for name, weight in original.items():
        if not torch.equal(converted[name], weight):
            changed += 1
            # Three bits of a mantissa are right to a sixteenth.
            assert float((converted[name].float() - weight.float()).norm() / weight.float().norm()) < 0.07, name
    assert changed == len(names)


@pytest.mark.parametrize(
    ("stored", "scale", "message"),
    [
        (torch.zeros(4, 4, dtype=torch.uint8), torch.ones(4, 2), "stored as U8, not in fp8"),
        (torch.zeros(4, 4, dtype=torch.int8), torch.tensor(1.0), "stored as I8, not in fp8"),
        (torch.zeros(4, 64).to(torch.float8_e4m3fn), torch.ones(4, 2), r"its scale has the shape \(4, 2\)"),
        (torch.zeros(4, 4).to(torch.float8_e4m3fn), torch.ones(2, 2), r"its scale has the shape \(2, 2\)"),
        (torch.zeros(4, 4).to(torch.float8_e4m3fn), torch.ones(1, 4), r"its scale has the shape \(1, 4\)"),
        (torch.ones(4, 4), torch.tensor(1.0), "it has a scale and is stored as F32"),
    ],
    ids=["four bits", "integers", "blocks", "square blocks", "columns", "not quantized"],
)
def test_other_ways_to_quantize_are_refused_with_the_name_of_the_weight(
    tmp_path: Path, stored: Tensor, scale: Tensor, message: str
) -> None:
    save_file({"block.weight": stored, "block.weight_scale": scale}, tmp_path / "x.safetensors")

    with pytest.raises(BadInput, match=f"block.weight is quantized in a way that is not read here: .*{message}"):
        SingleFile.read(tmp_path / "x.safetensors")


@pytest.mark.parametrize("beside", ["SCB", "weight_scale_inv", "absmax", "weight_scale_2"])
def test_what_other_programs_write_beside_quantized_weights_is_refused(tmp_path: Path, beside: str) -> None:
    weight = torch.zeros(4, 4, dtype=torch.int8 if beside == "SCB" else torch.float8_e4m3fn)
    save_file({"block.weight": weight, f"block.{beside}": torch.ones(4)}, tmp_path / "x.safetensors")

    with pytest.raises(BadInput, match=r"block\.weight is quantized in a way that is not read here"):
        SingleFile.read(tmp_path / "x.safetensors")


@given(st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4), st.sampled_from([0.001, 1.0, 300.0]))
def test_a_scaled_weight_is_its_stored_numbers_times_the_scale(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], scale: float
) -> None:
    file, stored = tmp_path_factory.mktemp("file") / "x.safetensors", torch.tensor([numbers]).to(torch.float8_e4m3fn)
    save_file({"a.weight": stored, "a.scale_weight": torch.tensor(scale), "a.bias": torch.ones(1)}, file)

    opened = SingleFile.read(file)

    assert set(opened.shapes) == {"a.weight", "a.bias"}
    assert opened.dtype("a.weight") == "BF16"
    torch.testing.assert_close(opened.tensor("a.weight").float(), stored.float() * scale, rtol=2**-8, atol=0)
    assert torch.equal(opened.tensor("a.bias"), torch.ones(1))
