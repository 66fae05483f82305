"""Tensors that are not a complete change of their module are refused with a clear error, before anything is applied."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from foundation.errors import BadInput
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.module_shapes import ModuleShapes

QUERY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
NORM = "lora_unet_down_blocks_0_resnets_0_norm1"
PATH = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def base() -> ModuleShapes:
    return module_shapes.of_folder("mini-sdxl", MINIATURE, families.get("sdxl"))


def _write(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, folder / "a.safetensors")
    return folder / "a.safetensors"


def _loha(size: int, rank: int) -> dict[str, Tensor]:
    return {
        f"{QUERY}.hada_w{number}_{letter}": torch.randn((size, rank) if letter == "a" else (rank, size))
        for number in "12"
        for letter in "ab"
    }


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({**_loha(64, 0), f"{QUERY}.alpha": torch.tensor(1.0)}, "is empty"),
        (
            {f"{QUERY}.lora_down.weight": torch.zeros(0, 64), f"{QUERY}.lora_up.weight": torch.zeros(64, 0)},
            "is empty",
        ),
        ({f"{NORM}.ia3_l": torch.ones(64)}, "for a norm"),
        ({f"{QUERY}.ia3_l": torch.tensor(1.0)}, "does not fit"),
        ({f"{QUERY}.lokr_w1": torch.randn(3000, 3000), f"{QUERY}.lokr_w2": torch.randn(3000, 3000)}, "does not fit"),
        (_loha(50_000, 1), "does not fit"),
        *(
            (
                {
                    f"{QUERY}.lora_down.weight": torch.randn(2, 64),
                    f"{QUERY}.lora_up.weight": torch.randn(64, 2),
                    f"{QUERY}.{leftover}": torch.randn(4, 4),
                },
                "which do not belong together",
            )
            for leftover in ("rescale", "hada_t1", "lokr_w2")
        ),
    ],
    ids=[
        "loha of rank 0",
        "lora of rank 0",
        "ia3 of a norm",
        "ia3 of one number",
        "huge lokr",
        "huge loha",
        "rescale",
        "t1",
        "w2",
    ],
)
def test_a_change_that_does_not_fit_is_refused_without_computing_it(
    base: ModuleShapes, tmp_path: Path, tensors: dict[str, Tensor], reason: str
) -> None:
    file = _write(tmp_path, tensors)

    with pytest.raises(BadInput, match=reason):
        reader.load(file, base)


def test_a_norm_of_another_size_is_skipped_whatever_its_tensor_is_called(base: ModuleShapes, tmp_path: Path) -> None:
    file = _write(
        tmp_path,
        {
            f"{NORM}.lora_up.bias": torch.ones(3),
            f"{QUERY}.lora_down.weight": torch.randn(2, 64),
            f"{QUERY}.lora_up.weight": torch.randn(64, 2),
        },
    )

    adapter = reader.load(file, base)

    assert adapter.paths == [PATH]
    assert "does not fit the norm" in adapter.notes[0]


def test_a_bias_can_accompany_every_kind(base: ModuleShapes, tmp_path: Path) -> None:
    adapter = reader.load(_write(tmp_path, {**_loha(64, 2), f"{QUERY}.diff_b": torch.ones(64)}), base)

    assert adapter.changes[PATH].kind.title == "LoHa"
    assert torch.equal(adapter.changes[PATH].bias(), torch.ones(64))  # type: ignore[arg-type]
