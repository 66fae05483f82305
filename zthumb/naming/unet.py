"""The two names of every module: diffusers' path, and the one a kohya file has, with the UNet's original (sgm) block names."""

import re
from collections.abc import Mapping
from types import MappingProxyType

_RESNET: Mapping[str, str] = MappingProxyType(
    {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
        "norm1": "in_layers.0",
        "norm2": "out_layers.0",
    }
)
_ALONE: Mapping[str, str] = MappingProxyType(
    {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
)

KOHYA_PREFIXES: Mapping[str, str] = MappingProxyType(
    {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
)
"""Part of the pipeline → how a kohya file begins the names of its modules."""

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(attentions|resnets)\.(\d+)\.(.+)")
_SAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv")
_MIDDLE = re.compile(r"mid_block\.(attentions|resnets)\.(\d+)\.(.+)")


def to_sgm(module: str, layers_per_block: int) -> str:
    """The original name of a module of an SDXL UNet; ``ValueError`` for one that has none.

    >>> to_sgm("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", layers_per_block=2)
    'input_blocks.4.1.transformer_blocks.0.attn1.to_q'
    """
    if module in _ALONE:
        return _ALONE[module]
    # In the original layout a block is its layers followed by its down- or upsampler, all numbered in one row. Down the UNet the
    # sampler has a number of its own; up it shares the last layer's, behind its resnet and its attention.
    per_block = layers_per_block + 1
    if found := _SAMPLER.fullmatch(module):
        after = (int(found[2]) + 1) * per_block
        return f"input_blocks.{after}.0.op" if found[1] == "down" else f"output_blocks.{after - 1}.2.conv"
    if found := _BLOCK.fullmatch(module):
        place = int(found[2]) * per_block + int(found[4])
        block = f"input_blocks.{1 + place}" if found[1] == "down" else f"output_blocks.{place}"
        return f"{block}.{_inside(module, found[3], found[5], resnet=0, attention=1)}"
    if found := _MIDDLE.fullmatch(module):
        return f"middle_block.{_inside(module, found[1], found[3], resnet=2 * int(found[2]), attention=1)}"
    raise _nameless(module)


def _inside(module: str, kind: str, rest: str, resnet: int, attention: int) -> str:
    if kind == "attentions":
        return f"{attention}.{rest}"
    if rest not in _RESNET:
        raise _nameless(module)
    return f"{resnet}.{_RESNET[rest]}"


def _nameless(module: str) -> ValueError:
    return ValueError(f"{module}: not a module of an SDXL UNet")


def to_kohya(path: str, layers_per_block: int) -> str:
    """The name a kohya file gives the module at ``path``, which begins with the part of the pipeline.

    >>> to_kohya("unet.mid_block.attentions.0.proj_in", layers_per_block=2)
    'lora_unet_middle_block_1_proj_in'
    """
    part, module = path.split(".", 1)
    name = to_sgm(module, layers_per_block) if part == "unet" else module
    return KOHYA_PREFIXES[part] + name.replace(".", "_")
