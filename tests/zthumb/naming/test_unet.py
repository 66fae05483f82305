import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zthumb.naming.unet import to_kohya, to_sgm

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
        ("conv_in", "input_blocks.0.0"),
        ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection"),
        ("down_blocks.1.downsamplers.0.conv", "input_blocks.6.0.op"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
        ("up_blocks.2.resnets.2.time_emb_proj", "output_blocks.8.0.emb_layers.1"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("conv_out", "out.2"),
    ],
)
def test_modules_of_sdxl_have_the_names_of_the_original_checkpoint(diffusers: str, sgm: str) -> None:
    assert to_sgm(diffusers, SDXL_LAYERS_PER_BLOCK) == sgm


def test_a_kohya_name_is_the_original_one_with_underscores() -> None:
    name = to_kohya("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", SDXL_LAYERS_PER_BLOCK)
    assert name == "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"


def test_a_text_encoder_keeps_its_names() -> None:
    name = to_kohya("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", SDXL_LAYERS_PER_BLOCK)
    assert name == "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"


def test_what_has_no_such_name_is_refused() -> None:
    for module in ("conv_norm", "down_blocks.0.resnets.0.norm3", "encoder.conv"):
        with pytest.raises(ValueError, match="not a module of an SDXL UNet"):
            to_sgm(module, SDXL_LAYERS_PER_BLOCK)


def test_no_two_modules_of_the_miniature_share_a_name(miniature: Path) -> None:
    from safetensors import safe_open

    layers = json.loads((miniature / "unet" / "config.json").read_text())["layers_per_block"]
    with safe_open(ROOT / miniature / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        modules = {key.rsplit(".", 1)[0] for key in file.keys() if not re.search(r"norm|net\.0$", key)}  # noqa: SIM118
    assert len({to_kohya(f"unet.{module}", layers) for module in modules}) == len(modules)
