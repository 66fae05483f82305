"""The autoencoder of Stable Diffusion: diffusers' names and those of the repository that published it."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.naming.origin import CheckpointKey

_BLOCK = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.resnets\.(\d+)\.(.+)")
_SAMPLER = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(down|up)samplers\.0\.conv\.(.+)")
_MIDDLE_RESNET = re.compile(r"(encoder|decoder)\.mid_block\.resnets\.(\d+)\.(.+)")
_MIDDLE_ATTENTION = re.compile(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)")
_ATTENTION: Mapping[str, str] = MappingProxyType(
    {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
)


def of_autoencoder(name: str, blocks: int) -> CheckpointKey:
    """Where the tensor that diffusers calls ``name`` lies, in an autoencoder of so many ``blocks`` each way.

    >>> of_autoencoder("decoder.up_blocks.0.resnets.1.conv_shortcut.bias", 4).name
    'decoder.up.3.block.1.nin_shortcut.bias'
    """
    if found := _BLOCK.fullmatch(name):
        rest = found[4].replace("conv_shortcut", "nin_shortcut")
        return CheckpointKey(f"{found[1]}.{_number(found, blocks)}.block.{found[3]}.{rest}")
    if found := _SAMPLER.fullmatch(name):
        return CheckpointKey(f"{found[1]}.{_number(found, blocks)}.{found[3]}sample.conv.{found[4]}")
    if found := _MIDDLE_RESNET.fullmatch(name):
        return CheckpointKey(f"{found[1]}.mid.block_{int(found[2]) + 1}.{found[3]}")
    if found := _MIDDLE_ATTENTION.fullmatch(name):
        return CheckpointKey(f"{found[1]}.mid.attn_1.{_ATTENTION[found[2]]}.{found[3]}")
    return CheckpointKey(name.replace("conv_norm_out", "norm_out"))


def _number(found: re.Match[str], blocks: int) -> int:
    """Published, the decoder's blocks are numbered from its end."""
    return int(found[2]) if found[1] == "encoder.down" else blocks - 1 - int(found[2])
