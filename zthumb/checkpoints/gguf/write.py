"""A base's denoiser → a GGUF file: linear weights in quantized blocks, other weights in 16 bits, vectors in 32."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.files import atomic_file
from foundation.hashing import hash_files, hash_value
from zthumb.checkpoints.gguf import types

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIGURATION, SOURCE = "zthumb.configuration", "zthumb.source_sha256"


def write(
    component: Path,
    configuration: Mapping[str, Any],
    architecture: str,
    kind: str,
    target: Path,
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the denoiser in the folder ``component`` to ``target``, its linear weights as ``kind`` (``types.WRITTEN``).

    ``architecture`` and ``configuration`` are stored in the file. Tensors are called by their diffusers names, or by ``names``.
    Only one tensor at a time is in memory. The same denoiser gives the same bytes.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize
    from tqdm import tqdm

    linear_type = GGMLQuantizationType[types.parse_type(kind)]
    shapes = _read_shapes(component)
    tensor_types = {name: _tensor_type(shape, linear_type) for name, shape in shapes.items()}
    with atomic_file(target) as path:
        writer = GGUFWriter(path, architecture)
        writer.add_string(CONFIGURATION, json.dumps(dict(configuration), sort_keys=True))
        writer.add_string(SOURCE, hash_value(hash_files(component, "*.safetensors")))
        for name, shape in shapes.items():
            size = prod(quant_shape_to_byte_shape(shape, tensor_types[name]))
            writer.add_tensor_info(names.get(name, name), shape, np.dtype(np.float32), size, tensor_types[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, values in tqdm(_tensors(component, shapes), desc="convert", unit="tensor", total=len(shapes)):
            writer.write_tensor_data(quantize(values, tensor_types[name]))
        writer.close()


def _tensor_type(shape: tuple[int, ...], linear_type: Any) -> Any:
    """Return F32 for vectors, which are few and sensitive, ``linear_type`` for matrices with rows of whole blocks, else F16."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1:
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


def _tensors(component: Path, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the named tensors one by one, float32."""
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        file_of = dict[str, Any]()
        for path in _weight_files(component):
            file = stack.enter_context(safe_open(path, "pt"))
            file_of |= dict.fromkeys(file.keys(), file)
        for name in names:
            yield name, file_of[name].get_tensor(name).float().numpy()


def _weight_files(component: Path) -> list[Path]:
    """Return the weight files, without the fp16 variants."""
    return [path for path in sorted(component.glob("*.safetensors")) if ".fp16." not in path.name]
