"""Adapters on weights that wait, in another precision than they compute in: the same images as with everything in memory."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from zthumb.adapters.adapter_cache import Lora
from zthumb.adapters.layouts import save_kohya
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.generation.parameters import GenerationParams

PARAMS = GenerationParams("a photo of a red star on a blue background", None, 128, 128, 7, 2, 5.0)
OFFLOADED = Options(device="cpu", placement="offload", blocks_to_swap={"unet": 14, "text_encoder": 3})


@pytest.fixture
def adapters(tmp_path: Path) -> dict[str, Path]:
    """A LoRA, a DoRA, which needs the norms of the base's weights, and an adapter that multiplies them."""
    files = {name: tmp_path / f"{name}.safetensors" for name in ("lora", "dora", "ia3")}
    for name in ("lora", "dora"):
        save_kohya(random_adapter(MINIATURE, use_dora=name == "dora"), files[name], *MINI_SDXL, {})
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    size = 128
    save_file({f"{name}.weight": torch.full((size,), 0.3), f"{name}.on_input": torch.tensor(False)}, files["ia3"])
    return files


def _generate(options: Options, loras: list[Lora]) -> bytes:
    backend = Backend(WeightsLocation(MINIATURE, MINIATURE), options)
    with backend.apply_lora(loras) as applied:
        return backend.generate([PARAMS], lambda *_: None, applied.learned_tokens)[0].tobytes()


@pytest.mark.parametrize("name", ["lora", "dora", "ia3"])
def test_an_image_with_an_adapter_is_the_same(adapters: dict[str, Path], name: str) -> None:
    loras = [Lora(adapters[name], 0.7)]

    offloaded = _generate(OFFLOADED, loras)

    assert offloaded == _generate(Options(device="cpu"), loras)
    assert offloaded != _generate(OFFLOADED, [])
