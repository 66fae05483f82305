"""An adapter merged into a base for good, as long as the base is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.adapters import apply, module_shapes, reader

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily

_NAME = "merged"


def merge_adapter(file: Path, pipeline: Any, family: ModelFamily) -> None:
    """Merge the adapter in ``file`` into the denoiser of ``pipeline``.

    Raises ``BadInput`` if it is for another base, or changes a text encoder or learned tokens too.
    """
    import torch

    components = {name: getattr(pipeline, name) for name in family.adapted_components}
    adapter = reader.load(file, module_shapes.of_components("the base", components, family))
    if set(adapter.parts) != {family.denoiser_component} or adapter.embeddings:
        raise BadInput(f"{file}: changes more than the {family.denoiser_component}, into which it is to be merged.")
    with torch.no_grad():
        apply.inject(components, adapter, _NAME)
        apply.set_weights(apply.adapted_modules(components), {_NAME: 1.0})
        apply.merge(components)
