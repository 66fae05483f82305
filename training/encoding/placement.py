"""Parts of a pipeline on the device for as long as they are needed there."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def on_device(pipeline: Any, parts: Sequence[str], device: torch.device) -> Iterator[None]:
    """The named parts of ``pipeline`` on ``device`` for the length of the block, then where they were.

    A card that holds the denoiser and what its backward pass keeps need not hold the encoders beside it.
    """
    modules = [part for part in (getattr(pipeline, name) for name in parts) if isinstance(part, nn.Module)]
    before = [next(module.parameters()).device for module in modules]
    for module in modules:
        module.to(device)
    try:
        yield
    finally:
        for module, device_before in zip(modules, before, strict=True):
            module.to(device_before)
        if device.type == "cuda":
            torch.cuda.empty_cache()
