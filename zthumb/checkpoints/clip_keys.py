"""CLIP text encoders: published under transformers' names (1.x, the first of SDXL) or OpenCLIP's (2.x, the second of SDXL)."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.checkpoints.checkpoint_key import CheckpointKey, Rows

TEXT_MODEL = "text_model."
BESIDE_TEXT_MODEL = "text_projection"

_LAYER = re.compile(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_THIRDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_INSIDE: Mapping[str, str] = MappingProxyType(
    {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
)
_UNIQUE: Mapping[str, CheckpointKey] = MappingProxyType(
    {
        "text_model.embeddings.position_embedding.weight": CheckpointKey("positional_embedding"),
        "text_model.embeddings.token_embedding.weight": CheckpointKey("token_embedding.weight"),
        "text_model.final_layer_norm.weight": CheckpointKey("ln_final.weight"),
        "text_model.final_layer_norm.bias": CheckpointKey("ln_final.bias"),
        "text_projection.weight": CheckpointKey("text_projection", is_transposed=True),
    }
)


def inside_text_model(name: str) -> str:
    """Return the name that files have for a tensor of transformers': its ``text_model.`` level depends on class and version."""
    return name if name.startswith((TEXT_MODEL, BESIDE_TEXT_MODEL)) else TEXT_MODEL + name


def of_transformers(name: str) -> CheckpointKey:
    """Return the key of the tensor that transformers calls ``name`` in a file with transformers' names."""
    return CheckpointKey(inside_text_model(name))


def of_open_clip(name: str) -> CheckpointKey:
    """Return its key in a file with OpenCLIP's names; raise ``ValueError`` for a tensor that has none.

    >>> of_open_clip("text_model.encoder.layers.3.self_attn.k_proj.bias")
    CheckpointKey(name='transformer.resblocks.3.attn.in_proj_bias', rows=Rows(start=1, stop=2, of=3), ...)
    """
    name = inside_text_model(name)
    if name in _UNIQUE:
        return _UNIQUE[name]
    match = _LAYER.fullmatch(name)
    if match and match[2] in _THIRDS:
        third = _THIRDS.index(match[2])
        return CheckpointKey(f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}", Rows(third, third + 1, 3))
    if match and match[2] in _INSIDE:
        return CheckpointKey(f"transformer.resblocks.{match[1]}.{_INSIDE[match[2]]}.{match[3]}")
    raise ValueError(f"{name}: not a tensor of a CLIP text encoder")
