"""How much memory a base's weights take, told by their headers, and how much this machine has free."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from zthumb.sources.local import parts_of

if TYPE_CHECKING:
    import torch

_MEMORY_INFO = Path("/proc/meminfo")


def weights(folder: Path, element: int) -> int:
    """Bytes of the weights of the base in ``folder`` with ``element`` bytes for each number; nothing of them is read."""
    return sum(weights_of(folder / part, element) for part in parts_of(folder))


def weights_of(part: Path, element: int) -> int:
    """Bytes of the weights in the folder of one ``part``."""
    return element * sum(_numbers(path) for path in _files(part))


def bytes_of(tensor: torch.Tensor) -> int:
    """What a tensor's numbers take, those of one that is kept in fewer bits too."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()
    return sum(bytes_of(getattr(tensor, name)) for name in names)


def free(device: torch.device) -> int:
    """Bytes that nobody uses on ``device``; for a CPU, in this machine's memory."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = _MEMORY_INFO.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def peak(device: torch.device) -> int:
    """The most bytes that were in use on ``device``, or by this process where that is a CPU."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_short(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or (isinstance(error, Exception) and bool(should_reduce_batch_size(error)))


def _files(part: Path) -> Iterator[Path]:
    """The weights of one part, of its several precisions the plain one."""
    return (path for path in sorted(part.glob("*.safetensors")) if ".fp16." not in path.name)


def _numbers(path: Path) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(prod(told["shape"]) for name, told in header.items() if name != "__metadata__")
