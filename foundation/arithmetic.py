"""What decides the last bits of floating-point sums on a CPU, and how to fix it for every x86-64 with AVX2."""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from foundation.errors import BadInput

THREADS = 2

_PORTABLE: Mapping[str, str] = MappingProxyType(
    {
        # torch's own kernels.
        "ATEN_CPU_CAPABILITY": "avx2",
        # The only mode in which Intel's MKL promises the same bits on processors of other makers.
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        # A sum is split among threads, and another split gives another rounding.
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
    }
)
_CPUINFO = Path("/proc/cpuinfo")
_MODEL = "model name"


def make_portable() -> None:
    """Make torch compute the same bits on any x86-64 with AVX2. Call it before torch is imported.

    Raises ``BadInput`` where torch is already imported under other settings.
    """
    different = {name: value for name, value in _PORTABLE.items() if os.environ.get(name) != value}
    if different and "torch" in sys.modules:
        raise BadInput(
            f"portable: torch is already loaded; set {', '.join(f'{name}={value}' for name, value in different.items())} before."
        )
    os.environ.update(_PORTABLE)


def disable_onednn() -> None:
    """Turn oneDNN off, whose sums depend on the sizes of a processor's caches, and fix the number of threads."""
    import torch

    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.set_num_threads(THREADS)


def arithmetic_info() -> dict[str, str | int | bool]:
    """Return what decides rounding here: the processor and, where torch is loaded, its instruction set, threads and libraries."""
    facts: dict[str, str | int | bool] = {"processor": _processor()}
    torch = sys.modules.get("torch")
    if torch is None:
        return facts
    return {
        **facts,
        "instruction_set": str(torch.backends.cpu.get_cpu_capability()),
        "threads": int(torch.get_num_threads()),
        "mkl_cbwr": os.environ.get("MKL_CBWR", "not set"),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", "not set"),
    }


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "not known"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(_MODEL)), "not known")
