"""The one place that decides on which device models run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from foundation.errors import BadInput

if TYPE_CHECKING:
    import torch

VARIABLE = "ZTHUMB_DEVICE"
KINDS = ("auto", "cuda", "xpu", "mps", "cpu")
"""``cuda`` is also what torch calls AMD's ROCm."""


def choose_device(requested: str = "auto") -> torch.device:
    """Return the device to run on: what is ``requested``, else what ``ZTHUMB_DEVICE`` names, else the fastest there is.

    A device may have an index, as ``cuda:1``. Raises ``BadInput`` for one that is not known or not available here.
    """
    import torch

    source, name = ("device", requested) if requested != "auto" else (VARIABLE, os.environ.get(VARIABLE) or "auto")
    kind = name.partition(":")[0]
    if kind not in KINDS:
        raise BadInput(f"{source}: {name!r} is no device that is known here; there are {', '.join(KINDS)}.")
    available = [candidate for candidate in KINDS[1:] if _is_available(candidate)]
    if kind == "auto":
        return torch.device(available[0])
    if kind not in available:
        raise BadInput(f"{source}: {name!r} is not available here; there are {', '.join(available)}.")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadInput(f"{source}: {name!r} is no device; give an index as in {kind}:0.") from None
    count = _count(kind)
    if device.index is not None and device.index >= count:
        raise BadInput(f"{source}: {name!r} is not available here; {kind} devices are numbered 0 to {count - 1}.")
    return device


def free_cached_memory(device: torch.device) -> None:
    """Give memory that torch has cached on ``device`` back to it; nothing on a CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _is_available(kind: str) -> bool:
    import torch

    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "xpu":
        return torch.xpu.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def _count(kind: str) -> int:
    import torch

    if kind == "cuda":
        return torch.cuda.device_count()
    return torch.xpu.device_count() if kind == "xpu" else 1
