"""An adapter merged into a base for good, as long as the base is in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.adapters import apply, hooks, module_shapes, reader
from zthumb.adapters.merged_effect import MergedEffect

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zthumb.families.base import ModelFamily

_NAME = "merged"
_EVERY = 8
"""Of how many modules one is measured: quantizing takes long."""


def merge_adapter(file: Path, pipeline: Any, family: ModelFamily, stored: Callable[[Tensor], nn.Module]) -> None:
    """Merge the adapter in ``file`` into the denoiser of ``pipeline``.

    ``stored`` returns a layer that keeps a weight as it will be kept: where rounding it takes much of the adapter, a warning
    says how much. Raises ``BadInput`` if it is for another base, or changes a text encoder or learned tokens too.
    """
    import torch

    components = {name: getattr(pipeline, name) for name in family.adapted_components}
    adapter = reader.load(file, module_shapes.of_components("the base", components, family))
    if set(adapter.parts) != {family.denoiser_component} or adapter.embeddings:
        raise BadInput(f"{file}: changes more than the {family.denoiser_component}, into which it is to be merged.")
    effect = MergedEffect(lambda weight: hooks.base_weight(stored(weight)).to(weight.device), every=_EVERY)
    device = next(components[family.denoiser_component].parameters()).device
    with torch.no_grad():
        apply.inject(components, adapter, _NAME, (device, torch.float32))
        apply.set_weights(apply.adapted_modules(components), {_NAME: 1.0})
        apply.merge(components, effect)
    effect.warn(file.name)
