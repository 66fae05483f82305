"""The names of Black Forest Labs' transformers, FLUX.1 and FLUX.2: blocks of two streams, then of one, with fused projections."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, Rows

Inside = Mapping[str, tuple[str, Rows]]
"""Name of a module in its block → its published name there, and the rows it has of what is stored under that."""

_DOUBLE = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
_SINGLE = re.compile(r"single_transformer_blocks\.(\d+)\.(.+)")
_THIRDS = tuple(Rows(part, part + 1, 3) for part in range(3))

ATTENTION: Inside = {
    **{f"attn.to_{letter}": ("img_attn.qkv", rows) for letter, rows in zip("qkv", _THIRDS, strict=True)},
    **{f"attn.add_{letter}_proj": ("txt_attn.qkv", rows) for letter, rows in zip("qkv", _THIRDS, strict=True)},
    "attn.norm_q": ("img_attn.norm.query_norm", WHOLE),
    "attn.norm_k": ("img_attn.norm.key_norm", WHOLE),
    "attn.norm_added_q": ("txt_attn.norm.query_norm", WHOLE),
    "attn.norm_added_k": ("txt_attn.norm.key_norm", WHOLE),
    "attn.to_out.0": ("img_attn.proj", WHOLE),
    "attn.to_add_out": ("txt_attn.proj", WHOLE),
}
"""The attention of a block of two streams."""

OUTSIDE: Mapping[str, CheckpointKey] = {
    "x_embedder": CheckpointKey("img_in"),
    "context_embedder": CheckpointKey("txt_in"),
    "norm_out.linear": CheckpointKey("final_layer.adaLN_modulation.1", halves_swapped=True),
    "proj_out": CheckpointKey("final_layer.linear"),
}
"""Modules before and after the blocks; published are shift and scale of the last layer in another order."""


@dataclass(frozen=True)
class Names:
    """The published names of a ``model``'s transformer: inside blocks of two streams, inside blocks of one, and ``outside``."""

    model: str
    double: Inside
    single: Inside
    outside: Mapping[str, CheckpointKey]

    def of_module(self, module: str) -> CheckpointKey:
        """Return the place of what diffusers calls ``module``; raise ``ValueError`` for one that has none."""
        if module in self.outside:
            return self.outside[module]
        for pattern, prefix, inside in ((_SINGLE, "single_blocks", self.single), (_DOUBLE, "double_blocks", self.double)):
            match = pattern.fullmatch(module)
            if match and match[2] in inside:
                name, rows = inside[match[2]]
                return CheckpointKey(f"{prefix}.{match[1]}.{name}", rows)
        raise ValueError(f"{module}: not a module of {self.model}'s transformer")

    def of_tensor(self, name: str) -> CheckpointKey:
        """Return the place of the tensor that diffusers calls ``name``; raise ``ValueError`` for one that has none."""
        module, _, last = name.rpartition(".")
        key = self.of_module(module)
        is_norm = key.name.endswith(("query_norm", "key_norm"))
        return CheckpointKey(f"{key.name}.{'scale' if is_norm else last}", key.rows, halves_swapped=key.halves_swapped)
