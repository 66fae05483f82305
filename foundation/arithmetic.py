"""What decides the last bits of sums on a processor, and how to fix it for every x86-64 with AVX2."""

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
        # Intel's library promises the same bits on other makers' processors in this mode alone.
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        # A sum is divided among threads, and another division is another sum.
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
    }
)
_CPUINFO = Path("/proc/cpuinfo")
_MODEL = "model name"


def make_portable() -> None:
    """Let torch compute what it computes on any x86-64 with AVX2; to be called before it is loaded.

    Raises ``BadInput`` where it is loaded already and was told something else.
    """
    told = {name: value for name, value in _PORTABLE.items() if os.environ.get(name) != value}
    if told and "torch" in sys.modules:
        raise BadInput(
            f"portable: torch is loaded already; set {', '.join(f'{name}={value}' for name, value in told.items())} before."
        )
    os.environ.update(_PORTABLE)


def without_onednn() -> None:
    """Leave oneDNN out, whose sums depend on the sizes of a processor's caches."""
    import torch

    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.set_num_threads(THREADS)


def arithmetic_facts() -> dict[str, str | int | bool]:
    """What decides rounding here: the processor, and where torch is loaded its instruction set, its threads and its libraries."""
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
