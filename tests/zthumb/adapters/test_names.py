import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zthumb.adapters.names import to_kohya, to_sgm

SDXL_LAYERS_PER_BLOCK = 2


@pytest.mark.parametrize(
    ("diffusers", "sgm"),
    [
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.1.attentions.1.proj_in", "input_blocks.5.1.proj_in"),
        ("down_blocks.2.attentions.0.transformer_blocks.9.attn2.to_k", "input_blocks.7.1.transformer_blocks.9.attn2.to_k"),
        ("down_blocks.2.attentions.1.proj_out", "input_blocks.8.1.proj_out"),
        ("mid_block.attentions.0.transformer_blocks.3.ff.net.2", "middle_block.1.transformer_blocks.3.ff.net.2"),
        ("up_blocks.0.attentions.0.proj_in", "output_blocks.0.1.proj_in"),
        ("up_blocks.0.attentions.2.proj_in", "output_blocks.2.1.proj_in"),
        ("up_blocks.1.attentions.2.transformer_blocks.1.attn1.to_out.0", "output_blocks.5.1.transformer_blocks.1.attn1.to_out.0"),
    ],
)
def test_attention_modules_of_sdxl_have_the_names_of_the_original_checkpoint(diffusers: str, sgm: str) -> None:
    assert to_sgm(diffusers, SDXL_LAYERS_PER_BLOCK) == sgm


def test_a_kohya_name_is_the_original_one_with_underscores() -> None:
    name = to_kohya("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", SDXL_LAYERS_PER_BLOCK)
    assert name == "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"


def test_what_has_no_such_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not an attention module"):
        to_sgm("conv_in", SDXL_LAYERS_PER_BLOCK)


def test_no_two_modules_of_the_miniature_share_a_name(miniature: Path) -> None:
    from safetensors import safe_open

    layers = json.loads((miniature / "unet" / "config.json").read_text())["layers_per_block"]
    with safe_open(ROOT / miniature / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        modules = {key.rsplit(".", 1)[0] for key in file.keys() if ".attentions." in key}  # noqa: SIM118
    assert len({to_kohya(module, layers) for module in modules}) == len(modules)
