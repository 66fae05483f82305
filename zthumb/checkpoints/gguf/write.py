"""A base's denoiser → a GGUF file: linear weights in quantized blocks, other weights in 16 bits, vectors in 32."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.files import atomic_file
from foundation.hashing import hash_files, hash_value
from zthumb.checkpoints.checkpoint_key import CheckpointKey, join, names_by_key
from zthumb.checkpoints.gguf import types

if TYPE_CHECKING:
    from torch import Tensor

CONFIGURATION, SOURCE = "zthumb.configuration", "zthumb.source_sha256"


def write(
    component: Path,
    configuration: Mapping[str, Any],
    architecture: str,
    kind: str,
    target: Path,
    checkpoint_keys: Mapping[str, CheckpointKey] = MappingProxyType({}),
) -> None:
    """Write the denoiser in the folder ``component`` to ``target``, its linear weights as ``kind`` (``types.WRITTEN``).

    ``architecture`` and ``configuration`` are stored in the file. Tensors have their diffusers names, or those of
    ``checkpoint_keys``. Only one tensor at a time is in memory. The same denoiser gives the same bytes.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize
    from tqdm import tqdm

    linear_type = GGMLQuantizationType[types.parse_type(kind)]
    stored = _read_shapes(component)
    keys = {name: checkpoint_keys.get(name, CheckpointKey(name)) for name in stored}
    groups = names_by_key(keys)
    shapes = {name: _joined_shape([stored[part] for part in parts]) for name, parts in groups.items()}
    tensor_types = {name: _tensor_type(shape, linear_type) for name, shape in shapes.items()}
    with atomic_file(target) as path:
        writer = GGUFWriter(path, architecture)
        writer.add_string(CONFIGURATION, json.dumps(dict(configuration), sort_keys=True))
        writer.add_string(SOURCE, hash_value(hash_files(component, "*.safetensors")))
        for name, shape in shapes.items():
            size = prod(quant_shape_to_byte_shape(shape, tensor_types[name]))
            writer.add_tensor_info(name, shape, np.dtype(np.float32), size, tensor_types[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with _opened(component) as read:
            for name, parts in tqdm(groups.items(), desc="convert", unit="tensor"):
                values = join([(keys[part], read(part)) for part in parts]).float().numpy()
                writer.write_tensor_data(quantize(values, tensor_types[name]))
        writer.close()


def _joined_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _tensor_type(shape: tuple[int, ...], linear_type: Any) -> Any:
    """Return F32 for vectors, which are few and sensitive, ``linear_type`` for matrices with rows of whole blocks, else F16."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if prod(shape) == max(shape):  # a single row is a vector too
        return GGMLQuantizationType.F32
    block, _ = GGML_QUANT_SIZES[linear_type]
    return linear_type if len(shape) == 2 and shape[1] % block == 0 else GGMLQuantizationType.F16


def _read_shapes(component: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the component's tensors, sorted by name."""
    from safetensors import safe_open

    shapes = dict[str, tuple[int, ...]]()
    for path in _weight_files(component):
        with safe_open(path, "pt") as file:
            names = file.keys()
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return dict(sorted(shapes.items()))


@contextlib.contextmanager
def _opened(component: Path) -> Iterator[Callable[[str], Tensor]]:
    """Yield a function that reads a tensor of the component by its name."""
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        file_of = dict[str, Any]()
        for path in _weight_files(component):
            file = stack.enter_context(safe_open(path, "pt"))
            file_of |= dict.fromkeys(file.keys(), file)
        yield lambda name: file_of[name].get_tensor(name)


def _weight_files(component: Path) -> list[Path]:
    """Return the weight files, without the fp16 variants."""
    return [path for path in sorted(component.glob("*.safetensors")) if ".fp16." not in path.name]
