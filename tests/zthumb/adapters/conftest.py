"""A small adapter for the miniature, made without loading any weights."""

from pathlib import Path

import pytest
import torch

from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters import module_shapes
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.module_shapes import ModuleShapes

MODULES = (
    "unet.conv_in",
    "unet.down_blocks.0.resnets.0.conv_shortcut",
    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "unet.mid_block.attentions.0.transformer_blocks.1.ff.net.0.proj",
    "unet.up_blocks.0.attentions.1.proj_in",
    "unet.up_blocks.1.resnets.0.conv1",
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
    "text_encoder_2.text_model.encoder.layers.2.mlp.fc1",
    "text_encoder_2.text_projection",
)


@pytest.fixture(scope="session")
def base() -> ModuleShapes:
    return module_shapes.of_folder("mini-sdxl", MINIATURE, families.get("sdxl"))


def random_layer(base: ModuleShapes, module: str, rank: int = 3, scale: float = 1.0, seed: int = 0) -> Layer:
    generator = torch.Generator().manual_seed(seed)
    out, *rest = base.shapes[module]
    up = torch.randn(out, rank, *(1 for _ in rest[1:]), generator=generator)
    return Layer(torch.randn(rank, *rest, generator=generator), up, scale)


@pytest.fixture
def adapter(base: ModuleShapes) -> Adapter:
    """Linear and convolution modules of every component, mixed ranks, alpha different from the rank."""
    modules = [name for name in MODULES if name in base.shapes]
    return Adapter(
        {name: random_layer(base, name, rank=2 + number % 3, scale=0.5, seed=number) for number, name in enumerate(modules)}
    )


@pytest.fixture
def saved(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> Path:
    """The adapter in the kohya layout."""
    from zthumb.adapters.layouts import save_kohya

    save_kohya(adapter, tmp_path / "a.safetensors", base.family, base.denoiser_config, {"ss_output_name": "a"})
    return tmp_path / "a.safetensors"
