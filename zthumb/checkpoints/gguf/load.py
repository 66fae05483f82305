"""A GGUF file → the denoiser, whose quantized weights stay quantized in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.checkpoints.checkpoint_key import WHOLE, CheckpointKey, names_by_key
from zthumb.checkpoints.gguf.file import GgufFile, StoredTensor, read_gguf

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def load(path: Path, denoiser: Any, checkpoint_keys: Mapping[str, CheckpointKey], base: str, dtype: torch.dtype) -> Any:
    """Return ``denoiser``, on the meta device so far, with the weights in the file at ``path``.

    Its tensors have their diffusers names in the file, or those of ``checkpoint_keys``. Weights that are not quantized get
    ``dtype``. Raises ``BadInput``, which names the ``base`` that the denoiser was built for, when tensors are missing, unknown or
    of another shape.
    """
    import torch

    file = read_gguf(path)
    check_types(file)
    stored = _by_diffusers_name(file, checkpoint_keys)
    _check_shapes(file, stored, denoiser, base)
    for name, module in list(denoiser.named_modules()):
        weight = f"{name}.weight"
        if isinstance(module, torch.nn.Linear) and _is_quantized(stored[weight]):
            bias = None if module.bias is None else dequantized(stored.pop(f"{name}.bias"), dtype)
            denoiser.set_submodule(name, _block_linear(stored.pop(weight), bias))
    remaining = {name: dequantized(tensor, dtype) for name, tensor in stored.items()}
    denoiser.load_state_dict(remaining, strict=False, assign=True)
    return denoiser.requires_grad_(False)


def check_types(file: GgufFile) -> None:
    """Raise ``BadInput`` if the file has a tensor of a type that cannot be dequantized here."""
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES
    from gguf import GGMLQuantizationType

    supported = {*SUPPORTED_GGUF_QUANT_TYPES, GGMLQuantizationType.F32, GGMLQuantizationType.F16}
    for name, tensor in file.tensors.items():
        if tensor.type not in supported:
            raise BadInput(f"{file.path}: {name} is of type {tensor.type.name}, which is not supported.")


def _by_diffusers_name(file: GgufFile, checkpoint_keys: Mapping[str, CheckpointKey]) -> dict[str, StoredTensor]:
    """Return the tensors by their diffusers names, whichever of the two namings the file uses."""
    stored, names = dict[str, StoredTensor](), names_by_key(checkpoint_keys)
    for name, tensor in file.tensors.items():
        for part in names.get(name, [name]):
            stored[part] = _part(file, name, tensor, checkpoint_keys[part]) if name in names else tensor
    return stored


def _part(file: GgufFile, name: str, tensor: StoredTensor, key: CheckpointKey) -> StoredTensor:
    """Return the rows of a tensor that ``key`` means, in diffusers' order; blocks are divided between rows alone."""
    import numpy as np

    if key.rows == WHOLE and not key.halves_swapped:
        return tensor
    if len(tensor.data) != tensor.shape[0] or tensor.shape[0] % key.rows.of:
        raise BadInput(f"{file.path}: {name} {tensor.shape} cannot be divided into its parts: its rows are not whole blocks.")
    rows = tensor.data[key.rows.among(len(tensor.data))]
    half = len(rows) // 2
    data = np.concatenate([rows[half:], rows[:half]]) if key.halves_swapped else rows
    return StoredTensor(data, (len(data), *tensor.shape[1:]), tensor.type)


def _check_shapes(file: GgufFile, stored: dict[str, StoredTensor], denoiser: Any, base: str) -> None:
    """Raise ``BadInput`` unless ``stored`` fits ``denoiser``; give its tensors the shapes of ``denoiser``."""
    expected = {name: tuple(tensor.shape) for name, tensor in denoiser.state_dict().items()}
    for missing in expected.keys() - stored.keys():
        raise BadInput(f"{file.path}: a denoiser for another base than {base}: it lacks {missing}.")
    for unknown in stored.keys() - expected.keys():
        raise BadInput(f"{file.path}: a denoiser for another base than {base}, which has no {unknown}.")
    for name, shape in expected.items():
        # Some programs write the weight of a linear projection as that of a 1 × 1 convolution.
        if _squeeze(stored[name].shape) != _squeeze(shape):
            raise BadInput(f"{file.path}: {name} is {stored[name].shape}, and {base} has {shape}.")
        stored[name] = StoredTensor(stored[name].data, shape, stored[name].type)


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _is_quantized(tensor: StoredTensor) -> bool:
    from diffusers.quantizers.gguf.utils import UNQUANTIZED_TYPES

    return tensor.type not in UNQUANTIZED_TYPES


def _block_linear(weight: StoredTensor, bias: Tensor | None) -> Any:
    from zthumb.checkpoints.gguf.linear import BlockLinear

    return BlockLinear(_bytes(weight), weight.type, bias, (weight.shape[0], weight.shape[1]))


def dequantized(tensor: StoredTensor, dtype: torch.dtype) -> Tensor:
    """Return the values of a tensor, in its true shape."""
    import torch
    from gguf import GGMLQuantizationType

    from zthumb.checkpoints.gguf.linear import dequantize

    if tensor.type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return torch.from_numpy(tensor.data.copy()).reshape(tensor.shape).to(dtype)
    return dequantize(_bytes(tensor), tensor.type, dtype).reshape(tensor.shape)


def _bytes(tensor: StoredTensor) -> Tensor:
    """Return a copy of the blocks as bytes: the file may be replaced while it is open."""
    import torch

    return torch.from_numpy(tensor.data.copy()).view(torch.uint8)
