"""An adapter that is merged into the frozen base for the length of a run: what comes out is used without it.

Bases distilled to few steps lose that when they are trained on. With an adapter that undoes the distillation they learn the
images alone (https://huggingface.co/ostris/zimage_turbo_training_adapter).
"""

from typing import Any

import torch

from foundation.errors import BadInput
from zthumb.adapters import apply, module_shapes, reader
from zthumb.families.base import ModelFamily
from zthumb.sources import kinds
from zthumb.sources.resolve import Resolver

_NAME = "merged"


@torch.no_grad()
def merge_training_adapter(reference: str, pipeline: Any, family: ModelFamily) -> None:
    """Merge the adapter that ``reference`` names into the weights of ``pipeline``; ``BadInput`` if it is for another base."""
    components = {name: getattr(pipeline, name) for name in family.adapted_components}
    base = module_shapes.of_components("the base", components, family)
    adapter = reader.load(Resolver().path(reference, kinds.ADAPTER), base)
    if set(adapter.parts) != {family.denoiser_component} or adapter.embeddings:
        # Captions are encoded once for all runs on a base.
        raise BadInput(
            f"training_adapter: {reference} changes more than the {family.denoiser_component}, which captions depend on."
        )
    apply.inject(components, adapter, _NAME)
    apply.set_weights(apply.adapted_modules(components), {_NAME: 1.0})
    apply.merge(components)
