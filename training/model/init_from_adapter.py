"""Training that begins from an adapter, of any layout and any kind that is read."""

from collections.abc import Mapping
from typing import Any

import torch

from foundation.errors import BadInput
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.effect import dense_change
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.sources import kinds
from zthumb.sources.resolve import Resolver

_KEPT = 0.999


@torch.no_grad()
def begin_from(reference: str, base: ModuleShapes, layers: Mapping[str, Any], name: str) -> None:
    """Let the trainable ``layers`` (path → PEFT's layer, the adapter called ``name``) begin as an adapter for ``base``.

    One of no higher rank is taken over exactly; of a higher one, and of other kinds than LoRA, the nearest of this rank, which is
    told where it is not the same. Raises ``BadInput`` for modules that are not trained here, and for what a LoRA cannot hold.
    """
    path = Resolver().path(reference, kinds.ADAPTER)
    adapter = reader.load(path, base)
    if left := [module for module in adapter.paths if module not in layers]:
        raise BadInput(
            f"adapter.from: {path} changes {len(left)} modules that are not trained here, as {left[0]}. Widen adapter.targets, "
            "or set adapter.text_encoders."
        )
    if any(change.bias() is not None for change in adapter.changes.values()) or adapter.words:
        raise BadInput(f"adapter.from: {path} changes biases or brings a word, which a run cannot begin with.")
    kept = [_begin(layers[module], adapter, module, base, name) for module in adapter.paths]
    if min(kept) < _KEPT:
        print(f"train: note: adapter.from: of one module {min(kept):.1%} of the change fits into the recipe's rank, and no more")


def _begin(layer: Any, adapter: Adapter, module: str, base: ModuleShapes, name: str) -> float:
    """Put the factors of one module into ``layer``; the share of the squared change that they hold."""
    rank, own, share = layer.r[name], adapter.layers.get(module), 1.0
    if own is not None and own.magnitude is None and module not in adapter.changes and own.rank <= rank:
        up, down = own.factors
    else:
        change = dense_change(adapter, module, base)
        assert change is not None
        left, values, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
        share = float(values[:rank].square().sum() / values.square().sum().clamp(min=1e-30))
        root = values[:rank].sqrt()
        up, down = left[:, :rank] * root, root[:, None] * right[:rank]
    count, scale = down.shape[0], layer.scaling[name]
    down_weight, up_weight = layer.lora_A[name].weight, layer.lora_B[name].weight
    up_weight.zero_()[:, :count] = (up / scale).reshape(up_weight[:, :count].shape)
    down_weight[:count] = down.reshape(down_weight[:count].shape)
    return share
