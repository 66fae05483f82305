"""FLUX.2's transformer: published with fused projections, and with shift and scale of its last layer in another order.

The published names are those of Black Forest Labs' code (https://github.com/black-forest-labs/flux2).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, Rows

_DOUBLE = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
_SINGLE = re.compile(r"single_transformer_blocks\.(\d+)\.(.+)")
_THIRDS = tuple(Rows(part, part + 1, 3) for part in range(3))

_IN_DOUBLE: Mapping[str, tuple[str, Rows]] = MappingProxyType(
    {
        **{f"attn.to_{letter}": ("img_attn.qkv", rows) for letter, rows in zip("qkv", _THIRDS, strict=True)},
        **{f"attn.add_{letter}_proj": ("txt_attn.qkv", rows) for letter, rows in zip("qkv", _THIRDS, strict=True)},
        "attn.norm_q": ("img_attn.norm.query_norm", WHOLE),
        "attn.norm_k": ("img_attn.norm.key_norm", WHOLE),
        "attn.norm_added_q": ("txt_attn.norm.query_norm", WHOLE),
        "attn.norm_added_k": ("txt_attn.norm.key_norm", WHOLE),
        "attn.to_out.0": ("img_attn.proj", WHOLE),
        "attn.to_add_out": ("txt_attn.proj", WHOLE),
        "ff.linear_in": ("img_mlp.0", WHOLE),
        "ff.linear_out": ("img_mlp.2", WHOLE),
        "ff_context.linear_in": ("txt_mlp.0", WHOLE),
        "ff_context.linear_out": ("txt_mlp.2", WHOLE),
    }
)
_IN_SINGLE: Mapping[str, tuple[str, Rows]] = MappingProxyType(
    {
        "attn.to_qkv_mlp_proj": ("linear1", WHOLE),
        "attn.to_out": ("linear2", WHOLE),
        "attn.norm_q": ("norm.query_norm", WHOLE),
        "attn.norm_k": ("norm.key_norm", WHOLE),
    }
)
_UNIQUE: Mapping[str, CheckpointKey] = MappingProxyType(
    {
        "x_embedder": CheckpointKey("img_in"),
        "context_embedder": CheckpointKey("txt_in"),
        "time_guidance_embed.timestep_embedder.linear_1": CheckpointKey("time_in.in_layer"),
        "time_guidance_embed.timestep_embedder.linear_2": CheckpointKey("time_in.out_layer"),
        "time_guidance_embed.guidance_embedder.linear_1": CheckpointKey("guidance_in.in_layer"),
        "time_guidance_embed.guidance_embedder.linear_2": CheckpointKey("guidance_in.out_layer"),
        "double_stream_modulation_img.linear": CheckpointKey("double_stream_modulation_img.lin"),
        "double_stream_modulation_txt.linear": CheckpointKey("double_stream_modulation_txt.lin"),
        "single_stream_modulation.linear": CheckpointKey("single_stream_modulation.lin"),
        "norm_out.linear": CheckpointKey("final_layer.adaLN_modulation.1", halves_swapped=True),
        "proj_out": CheckpointKey("final_layer.linear"),
    }
)


def of_module(module: str) -> CheckpointKey:
    """Return the place of what diffusers calls ``module``; raise ``ValueError`` for one that has none.

    >>> of_module("single_transformer_blocks.3.attn.to_qkv_mlp_proj")
    CheckpointKey(name='single_blocks.3.linear1', ...)
    """
    if module in _UNIQUE:
        return _UNIQUE[module]
    for pattern, prefix, inside in ((_SINGLE, "single_blocks", _IN_SINGLE), (_DOUBLE, "double_blocks", _IN_DOUBLE)):
        match = pattern.fullmatch(module)
        if match and match[2] in inside:
            name, rows = inside[match[2]]
            return CheckpointKey(f"{prefix}.{match[1]}.{name}", rows)
    raise ValueError(f"{module}: not a module of FLUX.2's transformer")


def of_tensor(name: str) -> CheckpointKey:
    """Return the place of the tensor that diffusers calls ``name``; raise ``ValueError`` for one that has none."""
    module, _, last = name.rpartition(".")
    key = of_module(module)
    is_norm = key.name.endswith(("query_norm", "key_norm"))
    return CheckpointKey(f"{key.name}.{'scale' if is_norm else last}", key.rows, halves_swapped=key.halves_swapped)
