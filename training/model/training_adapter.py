"""An adapter that is merged into the frozen base for the length of a run: what comes out is used without it.

Bases distilled to few steps lose that when they are trained on. With an adapter that undoes the distillation they learn the
images alone (https://huggingface.co/ostris/zimage_turbo_training_adapter).
"""

from typing import Any

from foundation.errors import BadInput
from zthumb.adapters.merged import merge_adapter
from zthumb.families.base import ModelFamily
from zthumb.sources import kinds
from zthumb.sources.resolve import Resolver


def merge_training_adapter(reference: str, pipeline: Any, family: ModelFamily) -> None:
    """Merge the adapter that ``reference`` names into the weights of ``pipeline``; ``BadInput`` if it is for another base.

    It may change the denoiser alone: captions are encoded once for all runs on a base.
    """
    try:
        merge_adapter(Resolver().path(reference, kinds.ADAPTER), pipeline, family)
    except BadInput as error:
        raise BadInput(f"training_adapter: {error}") from None
