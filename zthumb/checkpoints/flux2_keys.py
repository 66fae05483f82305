"""FLUX.2's transformer under its published names (https://github.com/black-forest-labs/flux2).

>>> of_module("single_transformer_blocks.3.attn.to_qkv_mlp_proj")
CheckpointKey(name='single_blocks.3.linear1', ...)
"""

from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey
from zthumb.checkpoints.flux_blocks import ATTENTION, OUTSIDE, Names

_EMBEDDERS = {"timestep": "time_in", "guidance": "guidance_in"}
_MODULATIONS = ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")

_NAMES = Names(
    model="FLUX.2",
    double={
        **ATTENTION,
        "ff.linear_in": ("img_mlp.0", WHOLE),
        "ff.linear_out": ("img_mlp.2", WHOLE),
        "ff_context.linear_in": ("txt_mlp.0", WHOLE),
        "ff_context.linear_out": ("txt_mlp.2", WHOLE),
    },
    single={
        "attn.to_qkv_mlp_proj": ("linear1", WHOLE),
        "attn.to_out": ("linear2", WHOLE),
        "attn.norm_q": ("norm.query_norm", WHOLE),
        "attn.norm_k": ("norm.key_norm", WHOLE),
    },
    outside={
        **OUTSIDE,
        **{f"{name}.linear": CheckpointKey(f"{name}.lin") for name in _MODULATIONS},
        **{
            f"time_guidance_embed.{name}_embedder.linear_{number}": CheckpointKey(f"{published}.{layer}")
            for name, published in _EMBEDDERS.items()
            for number, layer in ((1, "in_layer"), (2, "out_layer"))
        },
    },
)

of_module, of_tensor = _NAMES.of_module, _NAMES.of_tensor
