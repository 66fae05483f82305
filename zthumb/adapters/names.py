"""The two names of every UNet module: diffusers' path and the original (sgm) block name that other programs read."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

_RESNET: Mapping[str, str] = MappingProxyType(
    {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
)
_ALONE: Mapping[str, str] = MappingProxyType(
    {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
)

# In the original layout a block is its layers followed by its down- or upsampler, all numbered in one row. Down the UNet the
# sampler has a number of its own; up it shares the last layer's, behind its resnet and its attention.
_PLACES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], int], str]], ...] = (
    (
        re.compile(r"down_blocks\.(\d+)\.attentions\.(\d+)\.(.+)"),
        lambda found, each: f"input_blocks.{1 + int(found[1]) * each + int(found[2])}.1.{found[3]}",
    ),
    (
        re.compile(r"down_blocks\.(\d+)\.resnets\.(\d+)\.(\w+)"),
        lambda found, each: f"input_blocks.{1 + int(found[1]) * each + int(found[2])}.0.{_RESNET[found[3]]}",
    ),
    (
        re.compile(r"down_blocks\.(\d+)\.downsamplers\.0\.conv"),
        lambda found, each: f"input_blocks.{(int(found[1]) + 1) * each}.0.op",
    ),
    (re.compile(r"mid_block\.attentions\.0\.(.+)"), lambda found, _: f"middle_block.1.{found[1]}"),
    (
        re.compile(r"mid_block\.resnets\.([01])\.(\w+)"),
        lambda found, _: f"middle_block.{2 * int(found[1])}.{_RESNET[found[2]]}",
    ),
    (
        re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.(.+)"),
        lambda found, each: f"output_blocks.{int(found[1]) * each + int(found[2])}.1.{found[3]}",
    ),
    (
        re.compile(r"up_blocks\.(\d+)\.resnets\.(\d+)\.(\w+)"),
        lambda found, each: f"output_blocks.{int(found[1]) * each + int(found[2])}.0.{_RESNET[found[3]]}",
    ),
    (
        re.compile(r"up_blocks\.(\d+)\.upsamplers\.0\.conv"),
        lambda found, each: f"output_blocks.{(int(found[1]) + 1) * each - 1}.2.conv",
    ),
)


def to_sgm(module: str, layers_per_block: int) -> str:
    """The original name of a module of an SDXL UNet; ``ValueError`` for one that has none.

    >>> to_sgm("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", layers_per_block=2)
    'input_blocks.4.1.transformer_blocks.0.attn1.to_q'
    """
    if module in _ALONE:
        return _ALONE[module]
    for pattern, name in _PLACES:
        if found := pattern.fullmatch(module):
            try:
                return name(found, layers_per_block + 1)
            except KeyError:
                break
    raise ValueError(f"{module}: not a module of an SDXL UNet that an adapter can be for")


def to_kohya(module: str, layers_per_block: int) -> str:
    """The name a kohya file gives the module: ``lora_unet_`` and the original name with underscores."""
    return "lora_unet_" + to_sgm(module, layers_per_block).replace(".", "_")
