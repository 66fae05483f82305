"""The one place that decides on which device models run, measures its memory, and looks for its compiler."""

from __future__ import annotations

import os
import shutil
import sys
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


def limit_memory(device: torch.device, share: float) -> None:
    """Let this process allocate at most ``share`` of the memory of ``device``, 0 to 1; ``BadInput`` for a CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, device.index)
    elif device.type == "mps":
        torch.mps.set_per_process_memory_fraction(share)
    else:
        raise BadInput(f"gpu_memory_utilization: {device.type} has no such limit; it is for cuda and mps. Leave it out.")


def free_cached_memory(device: torch.device) -> None:
    """Give memory that torch has cached on ``device`` back to it; nothing on a CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_bytes(device: torch.device, share: float | None = None) -> int:
    """Return the bytes that are free on ``device``; for a CPU, in this machine's memory.

    With a ``share`` of ``limit_memory``, those of them that this process may still allocate.
    """
    import torch

    free = _free_bytes(device)
    if share is None:
        return free
    own = torch.mps.current_allocated_memory() if device.type == "mps" else torch.cuda.memory_allocated(device)
    return min(free, int(share * total_bytes(device)) - own)


def _free_bytes(device: torch.device) -> int:
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "xpu":
        return int(torch.xpu.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return int(psutil.virtual_memory().available)


def total_bytes(device: torch.device) -> int:
    """Return the bytes that ``device`` has; for a CPU, those that this process may allocate."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if device.type == "xpu":
        return int(torch.xpu.mem_get_info(device)[1])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return min(int(psutil.virtual_memory().total), _process_limit())


def reset_peak_bytes(device: torch.device) -> None:
    """Begin to measure ``peak_bytes`` anew, where the device can."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "xpu":
        torch.xpu.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Return the peak of allocated bytes on ``device``; on MPS those allocated now, on a CPU the process's peak of memory."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "xpu":
        return int(torch.xpu.max_memory_allocated(device))
    return int(torch.mps.driver_allocated_memory()) if device.type == "mps" else _process_peak()


def _process_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 2**63
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return 2**63 if limit == resource.RLIM_INFINITY else limit


def _process_peak() -> int:
    import psutil

    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


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


def check_compiler(device: str) -> None:
    """Raise ``BadInput`` if the compiler that ``compile`` needs is missing: C++ where ``device`` is cpu, C on any other."""
    variable, names = ("CXX", ("g++", "clang++")) if device == "cpu" else ("CC", ("gcc", "clang"))
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names)):
        raise BadInput(f"compile: needs {' or '.join(names)}, and neither is installed. Install one, or turn compile off.")
