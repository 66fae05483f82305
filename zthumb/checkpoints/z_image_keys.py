"""Z-Image's transformer: published with fused projections of queries, keys and values.

The published names are those of its authors' code (https://github.com/Tongyi-MAI/Z-Image).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, Rows

_BLOCK = re.compile(r"((?:layers|noise_refiner|context_refiner)\.\d+)\.(.+)")
_THIRDS = {f"attention.to_{letter}": ("attention.qkv", Rows(part, part + 1, 3)) for part, letter in enumerate("qkv")}
_IN_BLOCK: Mapping[str, tuple[str, Rows]] = MappingProxyType(
    {
        **_THIRDS,
        "attention.to_out.0": ("attention.out", WHOLE),
        "attention.norm_q": ("attention.q_norm", WHOLE),
        "attention.norm_k": ("attention.k_norm", WHOLE),
    }
)
_SAME_IN_BLOCK = re.compile(r"feed_forward\.w[123]|adaLN_modulation\.0|(?:attention|ffn)_norm[12]")
# diffusers has one for each size of patches; published is that of 2 × 2.
_RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "all_x_embedder.2-1": "x_embedder",
        "all_final_layer.2-1.linear": "final_layer.linear",
        "all_final_layer.2-1.adaLN_modulation.1": "final_layer.adaLN_modulation.1",
    }
)
_SAME = frozenset({"t_embedder.mlp.0", "t_embedder.mlp.2", "cap_embedder.0", "cap_embedder.1"})
_PAD_TOKENS = frozenset({"x_pad_token", "cap_pad_token"})


def of_module(module: str) -> CheckpointKey:
    """Return the place of what diffusers calls ``module``; raise ``ValueError`` for one that has none.

    >>> of_module("layers.3.attention.to_k")
    CheckpointKey(name='layers.3.attention.qkv', rows=Rows(start=1, stop=2, of=3), ...)
    """
    if module in _RENAMED:
        return CheckpointKey(_RENAMED[module])
    if module in _SAME:
        return CheckpointKey(module)
    if match := _BLOCK.fullmatch(module):
        block, inside = match.groups()
        if inside in _IN_BLOCK:
            name, rows = _IN_BLOCK[inside]
            return CheckpointKey(f"{block}.{name}", rows)
        if _SAME_IN_BLOCK.fullmatch(inside):
            return CheckpointKey(module)
    raise ValueError(f"{module}: not a module of Z-Image's transformer")


def of_tensor(name: str) -> CheckpointKey:
    """Return the place of the tensor that diffusers calls ``name``; raise ``ValueError`` for one that has none."""
    if name in _PAD_TOKENS:
        return CheckpointKey(name)
    module, _, last = name.rpartition(".")
    key = of_module(module)
    return CheckpointKey(f"{key.name}.{last}", key.rows)
