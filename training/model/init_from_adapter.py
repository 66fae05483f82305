"""Training that starts from an adapter, of any layout and any kind that can be read."""

from collections.abc import Mapping
from typing import Any

import torch

from foundation.errors import BadInput
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.effect import dense_delta_weight
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.sources import kinds
from zthumb.sources.resolve import Resolver

_EXACT = 0.999


@torch.no_grad()
def init_from_adapter(reference: str, base: ModuleShapes, layers: Mapping[str, Any], name: str) -> None:
    """Start the trainable ``layers`` (path → PEFT's layer, the adapter called ``name``) as the adapter that ``reference`` names.

    An adapter of no higher rank is copied exactly. One of a higher rank, or of another kind than LoRA, is approximated at this
    rank, with a note if they differ. Raises ``BadInput`` for modules that are not trained, and for what a LoRA cannot represent.
    """
    path = Resolver().path(reference, kinds.ADAPTER)
    adapter = reader.load(path, base)
    if untrained := [module for module in adapter.paths if module not in layers]:
        raise BadInput(
            f"adapter.from: {path} changes {len(untrained)} modules that are not trained here, as {untrained[0]}. "
            "Widen adapter.targets, or set adapter.text_encoders."
        )
    if any(change.bias() is not None for change in adapter.changes.values()) or adapter.embeddings:
        raise BadInput(f"adapter.from: {path} changes biases or brings a word, which a run cannot begin with.")
    shares = [_init_layer(layers[module], adapter, module, base, name) for module in adapter.paths]
    if min(shares) < _EXACT:
        print(f"train: note: adapter.from: of one module only {min(shares):.1%} of the change fits into the recipe's rank")


def _init_layer(layer: Any, adapter: Adapter, module: str, base: ModuleShapes, name: str) -> float:
    """Copy the factors of one module into ``layer``; return the share of the squared change that they represent."""
    rank, lora, share = layer.r[name], adapter.layers.get(module), 1.0
    if lora is not None and lora.magnitude is None and module not in adapter.changes and lora.rank <= rank:
        up, down = lora.factors
    else:
        change = dense_delta_weight(adapter, module, base)
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
