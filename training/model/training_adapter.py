"""An adapter that is merged into the frozen base for the length of a run: what comes out is used without it.

Bases distilled to few steps lose that when they are trained on. With an adapter that undoes the distillation they learn the
images alone (https://huggingface.co/ostris/zimage_turbo_training_adapter).
"""

from functools import partial
from typing import Any

import torch

from foundation.errors import BadInput
from zthumb.adapters.merged import merge_adapter
from zthumb.families.base import ModelFamily
from zthumb.memory.quantize import Quantization, quantized_copy
from zthumb.sources import kinds
from zthumb.sources.resolve import Resolver


def merge_training_adapter(
    reference: str, pipeline: Any, family: ModelFamily, dtype: torch.dtype, quantization: Quantization
) -> None:
    """Merge the adapter that ``reference`` names into the weights of ``pipeline``; ``BadInput`` if it is for another base.

    Where rounding to ``dtype`` and ``quantization`` takes much of it, a warning says how much.

    It may change the denoiser alone: captions are encoded once for all runs on a base.
    """
    stored = partial(quantized_copy, kind=quantization, dtype=dtype, device=torch.device("cpu"))
    try:
        merge_adapter(Resolver().path(reference, kinds.ADAPTER), pipeline, family, stored)
    except BadInput as error:
        raise BadInput(f"training_adapter: {error}") from None
