"""The UNet of Stable Diffusion: diffusers' module names and those it was published under (sgm)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

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
_UNIQUE: Mapping[str, str] = MappingProxyType(
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

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(attentions|resnets)\.(\d+)\.(.+)")
_SAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv")
_MIDDLE = re.compile(r"mid_block\.(attentions|resnets)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class UNetLayout:
    """What the original names of a UNet depend on: ``layers_per_block``, and which up blocks have attention."""

    layers_per_block: int
    up_attention: tuple[bool, ...]

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> UNetLayout:
        """Return that of a UNet with diffusers' ``configuration``."""
        blocks = tuple("CrossAttn" in block for block in configuration["up_block_types"])
        return cls(int(configuration["layers_per_block"]), blocks)


def to_original(module: str, layout: UNetLayout) -> str:
    """Return the original (sgm) name of a module of a Stable Diffusion UNet; raise ``ValueError`` for one that has none.

    >>> to_original("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", UNetLayout(2, (True, True, False)))
    'input_blocks.4.1.transformer_blocks.0.attn1.to_q'
    """
    if module in _UNIQUE:
        return _UNIQUE[module]
    # In the original layout a block is its layers followed by its down- or upsampler, all numbered in one row. Down the UNet the
    # sampler has a number of its own; up it shares the last layer's, after its resnet and its attention, if it has one.
    per_block = layout.layers_per_block + 1
    if match := _SAMPLER.fullmatch(module):
        block = int(match[2])
        after = (block + 1) * per_block
        if match[1] == "down":
            return f"input_blocks.{after}.0.op"
        return f"output_blocks.{after - 1}.{2 if layout.up_attention[block] else 1}.conv"
    if match := _BLOCK.fullmatch(module):
        index = int(match[2]) * per_block + int(match[4])
        name = f"input_blocks.{1 + index}" if match[1] == "down" else f"output_blocks.{index}"
        return f"{name}.{_inside(module, match[3], match[5], resnet=0, attention=1)}"
    if match := _MIDDLE.fullmatch(module):
        return f"middle_block.{_inside(module, match[1], match[3], resnet=2 * int(match[2]), attention=1)}"
    raise _nameless(module)


def _inside(module: str, kind: str, rest: str, resnet: int, attention: int) -> str:
    if kind == "attentions":
        return f"{attention}.{rest}"
    if rest not in _RESNET:
        raise _nameless(module)
    return f"{resnet}.{_RESNET[rest]}"


def _nameless(module: str) -> ValueError:
    return ValueError(f"{module}: not a module of a Stable Diffusion UNet")
