"""Components of a pipeline on the device only while they are needed there."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from foundation.device import free_cached_memory
from zthumb.memory.waiting_weights import move


@contextlib.contextmanager
def on_device(pipeline: Any, components: Sequence[str], device: torch.device) -> Iterator[None]:
    """Move the named ``components`` of ``pipeline`` to ``device`` inside the block, and back afterwards.

    A card that holds the denoiser and the activations of its backward pass need not hold the encoders as well.
    """
    candidates = [getattr(pipeline, name) for name in components]
    modules = [candidate for candidate in candidates if isinstance(candidate, nn.Module)]
    before = [next(module.parameters()).device for module in modules]
    for module in modules:
        move(module, device)
    try:
        yield
    finally:
        for module, device_before in zip(modules, before, strict=True):
            move(module, device_before)
        free_cached_memory(device)
