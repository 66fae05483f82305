"""FLUX.1's transformer under its published names (https://github.com/black-forest-labs/flux).

>>> of_module("transformer_blocks.3.attn.to_k")
CheckpointKey(name='double_blocks.3.img_attn.qkv', rows=Rows(start=1, stop=2, of=3), ...)
"""

from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, Rows
from zthumb.checkpoints.flux_blocks import ATTENTION, OUTSIDE, Names

# Queries, keys, values, and four times as many rows of the feed-forward layer.
_SEVENTHS = tuple(Rows(part, part + 1, 7) for part in range(3))
_FEED_FORWARD = Rows(3, 7, 7)
_EMBEDDERS = {"timestep": "time_in", "guidance": "guidance_in", "text": "vector_in"}

_NAMES = Names(
    model="FLUX.1",
    double={
        **ATTENTION,
        "norm1.linear": ("img_mod.lin", WHOLE),
        "norm1_context.linear": ("txt_mod.lin", WHOLE),
        "ff.net.0.proj": ("img_mlp.0", WHOLE),
        "ff.net.2": ("img_mlp.2", WHOLE),
        "ff_context.net.0.proj": ("txt_mlp.0", WHOLE),
        "ff_context.net.2": ("txt_mlp.2", WHOLE),
    },
    single={
        "norm.linear": ("modulation.lin", WHOLE),
        **{f"attn.to_{letter}": ("linear1", rows) for letter, rows in zip("qkv", _SEVENTHS, strict=True)},
        "proj_mlp": ("linear1", _FEED_FORWARD),
        "proj_out": ("linear2", WHOLE),
        "attn.norm_q": ("norm.query_norm", WHOLE),
        "attn.norm_k": ("norm.key_norm", WHOLE),
    },
    outside={
        **OUTSIDE,
        **{
            f"time_text_embed.{name}_embedder.linear_{number}": CheckpointKey(f"{published}.{layer}")
            for name, published in _EMBEDDERS.items()
            for number, layer in ((1, "in_layer"), (2, "out_layer"))
        },
    },
)

of_module, of_tensor = _NAMES.of_module, _NAMES.of_tensor
