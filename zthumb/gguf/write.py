"""A base's denoiser → a GGUF file: linear weights in blocks of few bits, the others in 16 bits, vectors in 32."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.files import atomic_file
from foundation.hashing import hash_files, hash_value
from zthumb.gguf import types

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zthumb.families.base import Family

CONFIGURATION, SOURCE = "zthumb.configuration", "zthumb.source_sha256"


def write(base: Path, family: Family, kind: str, target: Path, has_original_names: bool = False) -> None:
    """Write the denoiser of the base in ``base`` to ``target``, its linear weights as ``kind`` (``types.WRITTEN``).

    Its tensors are called as diffusers calls them, or by their original names. One of them is in memory at a time. The same base
    gives the same bytes.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize
    from tqdm import tqdm

    wanted = GGMLQuantizationType[types.check(kind)]
    part, configuration = base / family.denoiser_component, family.configuration(base, family.denoiser_component)
    originals = _originals(family, configuration) if has_original_names else {}
    shapes = _shapes(part)
    chosen = {name: _type(shape, wanted) for name, shape in shapes.items()}
    with atomic_file(target) as path:
        writer = GGUFWriter(path, family.name)
        writer.add_string(CONFIGURATION, json.dumps(dict(configuration), sort_keys=True))
        writer.add_string(SOURCE, hash_value(hash_files(part, "*.safetensors")))
        for name, shape in shapes.items():
            size = prod(quant_shape_to_byte_shape(shape, chosen[name]))
            writer.add_tensor_info(originals.get(name, name), shape, np.dtype(np.float32), size, chosen[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, values in tqdm(_tensors(part, shapes), desc="convert", unit="tensor", total=len(shapes)):
            writer.write_tensor_data(quantize(values, chosen[name]))
        writer.close()


def _originals(family: Family, configuration: Mapping[str, Any]) -> Mapping[str, str]:
    import torch

    with torch.device("meta"):
        denoiser = family.build_component(family.denoiser_component, configuration)
    return {name: origin.name for name, origin in family.origins(family.denoiser_component, denoiser).items()}


def _type(shape: tuple[int, ...], wanted: Any) -> Any:
    """Vectors are few and matter much; blocks are of whole rows of matrices."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1:
        return GGMLQuantizationType.F32
    block, _ = GGML_QUANT_SIZES[wanted]
    return wanted if len(shape) == 2 and shape[1] % block == 0 else GGMLQuantizationType.F16


def _shapes(part: Path) -> dict[str, tuple[int, ...]]:
    """The part's tensors in the order of their names."""
    from safetensors import safe_open

    found = dict[str, tuple[int, ...]]()
    for path in _files(part):
        with safe_open(path, "pt") as file:
            names = file.keys()
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return dict(sorted(found.items()))


def _tensors(part: Path, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The named tensors one after the other, float32."""
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        holding = dict[str, Any]()
        for path in _files(part):
            file = stack.enter_context(safe_open(path, "pt"))
            holding |= dict.fromkeys(file.keys(), file)
        for name in names:
            yield name, holding[name].get_tensor(name).float().numpy()


def _files(part: Path) -> list[Path]:
    """The weights, of several precisions the plain ones."""
    return [path for path in sorted(part.glob("*.safetensors")) if ".fp16." not in path.name]
