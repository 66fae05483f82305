"""The original names of a UNet's modules, as published checkpoints have them."""

import pytest

from tests.conftest import ROOT
from zthumb.checkpoints.unet_keys import UNetLayout, to_original

SDXL = UNetLayout(2, (True, True, False))
BASES = ROOT / "zthumb" / "families" / "bases"


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
    assert to_original(diffusers, SDXL) == sgm


@pytest.mark.parametrize(
    ("diffusers", "original"),
    [
        ("down_blocks.3.resnets.1.conv1", "input_blocks.11.0.in_layers.2"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
        ("up_blocks.3.attentions.2.proj_out", "output_blocks.11.1.proj_out"),
    ],
)
def test_an_upsampler_behind_a_block_without_attention_has_its_place(diffusers: str, original: str) -> None:
    assert to_original(diffusers, UNetLayout(2, (False, True, True, True))) == original


def test_a_module_that_no_checkpoint_has_is_refused() -> None:
    for module in ("conv_norm", "down_blocks.0.resnets.0.norm3", "encoder.conv"):
        with pytest.raises(ValueError, match="not a module of a Stable Diffusion UNet"):
            to_original(module, SDXL)
