"""A GGUF file → the denoiser, whose quantized weights stay so in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.gguf.file import File, Stored, read

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zthumb.families.base import Family
    from zthumb.naming.origin import CheckpointKey


def load(path: Path, base: Path, family: Family, dtype: torch.dtype) -> Any:
    """The denoiser in the file at ``path``, of the shape that the base in ``base`` has; what is not quantized is in ``dtype``.

    ``BadInput`` when tensors are missing, are too many or have another shape.
    """
    import torch

    found = read(path)
    configuration = family.configuration(base, family.denoiser_component)
    with torch.device("meta"):
        denoiser = family.build_component(family.denoiser_component, configuration).requires_grad_(False)
    _check_types(found)
    stored = _by_own_names(found, family.origins(family.denoiser_component, denoiser))
    _check(found, stored, denoiser, base)
    for name, module in list(denoiser.named_modules()):
        weight = f"{name}.weight"
        if isinstance(module, torch.nn.Linear) and _is_quantized(stored[weight]):
            bias = None if module.bias is None else _spelt_out(stored.pop(f"{name}.bias"), dtype)
            denoiser.set_submodule(name, _linear(stored.pop(weight), bias))
    left = {name: _spelt_out(tensor, dtype) for name, tensor in stored.items()}
    denoiser.load_state_dict(left, strict=False, assign=True)
    return denoiser.requires_grad_(False)


def _check_types(found: File) -> None:
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES
    from gguf import GGMLQuantizationType

    known = {*SUPPORTED_GGUF_QUANT_TYPES, GGMLQuantizationType.F32, GGMLQuantizationType.F16}
    for name, tensor in found.tensors.items():
        if tensor.type not in known:
            raise BadInput(f"{found.path}: {name} is of type {tensor.type.name}, which is not read here.")


def _by_own_names(found: File, origins: Mapping[str, CheckpointKey]) -> dict[str, Stored]:
    """The tensors by diffusers' names, whichever of the two kinds of names the file has."""
    own = {origin.name: name for name, origin in origins.items()}
    return {own.get(name, name): tensor for name, tensor in found.tensors.items()}


def _check(found: File, stored: dict[str, Stored], denoiser: Any, base: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in denoiser.state_dict().items()}
    for missing in wanted.keys() - stored.keys():
        raise BadInput(f"{found.path}: a denoiser for another base than {base}: it lacks {missing}.")
    for unknown in stored.keys() - wanted.keys():
        raise BadInput(f"{found.path}: a denoiser for another base than {base}, which has no {unknown}.")
    for name, shape in wanted.items():
        # Some programs write the weight of a linear projection as that of a convolution of one pixel.
        if _squeezed(stored[name].shape) != _squeezed(shape):
            raise BadInput(f"{found.path}: {name} is {stored[name].shape}, and {base} has {shape}.")
        stored[name] = Stored(stored[name].data, shape, stored[name].type)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _is_quantized(tensor: Stored) -> bool:
    from diffusers.quantizers.gguf.utils import UNQUANTIZED_TYPES

    return tensor.type not in UNQUANTIZED_TYPES


def _linear(weight: Stored, bias: Tensor | None) -> Any:
    from zthumb.gguf.linear import BlockLinear

    return BlockLinear(_bytes(weight), weight.type, bias, (weight.shape[0], weight.shape[1]))


def _spelt_out(tensor: Stored, dtype: torch.dtype) -> Tensor:
    """A tensor's numbers, of its true shape."""
    import torch
    from gguf import GGMLQuantizationType

    from zthumb.gguf.linear import dequantize

    if tensor.type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return torch.from_numpy(tensor.data.copy()).reshape(tensor.shape).to(dtype)
    return dequantize(_bytes(tensor), tensor.type, dtype).reshape(tensor.shape)


def _bytes(tensor: Stored) -> Tensor:
    """The blocks as bytes; a copy, because the file may be replaced while it is open."""
    import torch

    return torch.from_numpy(tensor.data.copy()).view(torch.uint8)
