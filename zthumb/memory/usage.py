"""How much memory a base's weights need, from their headers, and how much this machine has free."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zthumb.sources.local import components_of

if TYPE_CHECKING:
    import torch

_VARIANT = re.compile(r"\.(fp16|non_ema)\.")


def weights(folder: Path, element: int) -> int:
    """Return the bytes of the weights of the base in ``folder`` at ``element`` bytes per value; only headers are read."""
    return sum(weights_of(folder / name, element) for name in components_of(folder))


def weights_of(component: Path, element: int) -> int:
    """Return the bytes of the weights in the folder of one component, at ``element`` bytes per value."""
    return element * sum(_count_values(path) for path in _weight_files(component))


def dtype_of(component: Path) -> torch.dtype:
    """Return the precision that most numbers of a component's files have."""
    import torch

    counts = Counter[str]()
    for path in _weight_files(component):
        for tensor in _tensors(path):
            counts[tensor["dtype"]] += prod(tensor["shape"])
    names = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    (name, _), *_ = [entry for entry in counts.most_common() if entry[0] in names] or [("F32", 0)]
    return names[name]


def bytes_of(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor's data, also of a quantized tensor subclass."""
    if not hasattr(tensor, "__tensor_flatten__"):
        # bitsandbytes keeps the constants of blocks beside the tensor.
        state = getattr(tensor, "quant_state", None)
        constants = 0 if state is None else state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0)
        return int(tensor.nbytes) + constants
    names, _ = tensor.__tensor_flatten__()
    return sum(bytes_of(getattr(tensor, name)) for name in names)


def is_short(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, on any device."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or (isinstance(error, Exception) and bool(should_reduce_batch_size(error)))


def _weight_files(component: Path) -> Iterator[Path]:
    """Return the weight files of a component, without variants that are not loaded."""
    return (path for path in sorted(component.glob("*.safetensors")) if not _VARIANT.search(path.name))


def _count_values(path: Path) -> int:
    return sum(prod(tensor["shape"]) for tensor in _tensors(path))


def _tensors(path: Path) -> list[Mapping[str, Any]]:
    """The entry of each tensor in the header of a file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return [tensor for name, tensor in header.items() if name != "__metadata__"]
