"""The two names of every UNet module: diffusers' path and the original (sgm) block name that other programs read."""

import re

_DOWN = re.compile(r"down_blocks\.(\d+)\.attentions\.(\d+)\.(.+)")
_UP = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.attentions\.0\.(.+)")


def to_sgm(module: str, layers_per_block: int) -> str:
    """The original name of an attention module of the UNet.

    >>> to_sgm("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", layers_per_block=2)
    'input_blocks.4.1.transformer_blocks.0.attn1.to_q'
    """
    # In the original layout a block is its layers followed by its down- or upsampler, all numbered in one row.
    per_block = layers_per_block + 1
    if found := _DOWN.fullmatch(module):
        block, layer, rest = int(found[1]), int(found[2]), found[3]
        return f"input_blocks.{1 + block * per_block + layer}.1.{rest}"
    if found := _UP.fullmatch(module):
        block, layer, rest = int(found[1]), int(found[2]), found[3]
        return f"output_blocks.{block * per_block + layer}.1.{rest}"
    if found := _MIDDLE.fullmatch(module):
        return f"middle_block.1.{found[1]}"
    raise ValueError(f"{module}: not an attention module of an SDXL UNet")


def to_kohya(module: str, layers_per_block: int) -> str:
    """The name a kohya file gives the module: ``lora_unet_`` and the original name with underscores."""
    return "lora_unet_" + to_sgm(module, layers_per_block).replace(".", "_")
