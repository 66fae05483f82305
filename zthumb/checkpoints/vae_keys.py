"""The autoencoder of Stable Diffusion: diffusers' names and those of the repository that published it."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.checkpoints.checkpoint_key import CheckpointKey

_BLOCK = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.resnets\.(\d+)\.(.+)")
_SAMPLER = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(down|up)samplers\.0\.conv\.(.+)")
_MIDDLE_RESNET = re.compile(r"(encoder|decoder)\.mid_block\.resnets\.(\d+)\.(.+)")
_MIDDLE_ATTENTION = re.compile(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)")
_ATTENTION: Mapping[str, str] = MappingProxyType(
    {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
)


def of_autoencoder(name: str, blocks: int) -> CheckpointKey:
    """Return the key of the tensor that diffusers calls ``name``, in an autoencoder of ``blocks`` blocks each way.

    >>> of_autoencoder("decoder.up_blocks.0.resnets.1.conv_shortcut.bias", 4).name
    'decoder.up.3.block.1.nin_shortcut.bias'
    """
    if match := _BLOCK.fullmatch(name):
        rest = match[4].replace("conv_shortcut", "nin_shortcut")
        return CheckpointKey(f"{match[1]}.{_number(match, blocks)}.block.{match[3]}.{rest}")
    if match := _SAMPLER.fullmatch(name):
        return CheckpointKey(f"{match[1]}.{_number(match, blocks)}.{match[3]}sample.conv.{match[4]}")
    if match := _MIDDLE_RESNET.fullmatch(name):
        return CheckpointKey(f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}")
    if match := _MIDDLE_ATTENTION.fullmatch(name):
        return CheckpointKey(f"{match[1]}.mid.attn_1.{_ATTENTION[match[2]]}.{match[3]}")
    return CheckpointKey(name.replace("conv_norm_out", "norm_out"))


def _number(match: re.Match[str], blocks: int) -> int:
    """The published number: the decoder's blocks are numbered from its end."""
    return int(match[2]) if match[1] == "encoder.down" else blocks - 1 - int(match[2])
