"""The autoencoder of Wan 2.1, which Qwen-Image has too: published with the layers of all blocks in one list.

The published names are those of Wan's code (https://github.com/Wan-Video/Wan2.1).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.checkpoints.checkpoint_key import CheckpointKey

_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_IN_RESNET: Mapping[str, str] = MappingProxyType(
    {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6", "conv_shortcut": "shortcut"}
)
_UNIQUE: Mapping[str, str] = MappingProxyType(
    {
        "quant_conv": "conv1",
        "post_quant_conv": "conv2",
        **{
            f"{half}.{name}": f"{half}.{published}"
            for half in ("encoder", "decoder")
            for name, published in {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}.items()
        },
    }
)


def of_autoencoder(name: str, resnets: int) -> CheckpointKey:
    """Return the place of the tensor that diffusers calls ``name``, of a decoder with that many ``resnets`` in a block.

    >>> of_autoencoder("decoder.up_blocks.1.resnets.2.conv1.weight", 3)
    CheckpointKey(name='decoder.upsamples.6.residual.2.weight', ...)
    """
    module, _, last = name.rpartition(".")
    if module in _UNIQUE:
        return CheckpointKey(f"{_UNIQUE[module]}.{last}")
    if match := _UP.fullmatch(name):
        # After the resnets of each block comes what enlarges.
        position = int(match[1]) * (resnets + 1) + (int(match[3]) if match[2] == "resnets" else resnets)
        return CheckpointKey(f"decoder.upsamples.{position}.{_inside(match[4])}")
    if match := _MIDDLE.fullmatch(name):
        position = 1 if match[2] == "attentions" else 2 * int(match[3])
        return CheckpointKey(f"{match[1]}.middle.{position}.{_inside(match[4])}")
    return CheckpointKey(_inside(name.replace("encoder.down_blocks.", "encoder.downsamples.")))


def _inside(name: str) -> str:
    module, _, last = name.rpartition(".")
    parent, _, own = module.rpartition(".")
    renamed = _IN_RESNET.get(own, own)
    return ".".join(part for part in (parent, renamed, last) if part)
