"""Weights in eight bits as ComfyUI stores them: fp8, alone or with a scale for the whole tensor or for each of its rows.

The scale of ``x.weight`` is called ``x.scale_weight`` or ``x.weight_scale``
(https://github.com/comfyanonymous/ComfyUI/blob/master/QUANTIZATION.md).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = ("F8_E4M3", "F8_E5M2")
"""The eight-bit floats of safetensors' headers."""
READ_AS = "BF16"
"""What they are read as: every value of theirs is one of its own."""

_WEIGHT = ".weight"
_SCALES = (".scale_weight", ".weight_scale")
_OTHERS = (".weight_scale_inv", ".weight_scale_2", ".weight_scalar", ".SCB", ".absmax", ".weight.absmax", ".scales", ".wscales")
"""Ends of names beside weights that are quantized in other ways: blocks, integers, four bits."""
_FLOATS = ("F64", "F32", "F16", "BF16", *DTYPES)
_ASIDE = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Ends of names that say how to compute products in eight bits, and nothing about the weights."""


def scale_of(name: str, names: Container[str]) -> str | None:
    """Return which of ``names`` is the scale of the weight called ``name``; None if it has none."""
    stem = name.removesuffix(_WEIGHT)
    return next((stem + ending for ending in _SCALES if stem != name and stem + ending in names), None)


def is_weight(name: str) -> bool:
    """Return whether the tensor called ``name`` is one of the model's own, not about another one."""
    return not name.endswith((*_SCALES, *_ASIDE))


def problem(name: str, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str]) -> str | None:
    """Return why the tensor called ``name`` cannot be read, among all ``shapes`` and ``dtypes`` by name; None if it can."""
    stem = name.removesuffix(_WEIGHT)
    if stem == name:
        return None
    if dtypes[name] not in _FLOATS:
        return f"it is stored as {dtypes[name]}, not in fp8"
    if other := next((stem + ending for ending in _OTHERS if stem + ending in shapes), None):
        return f"it has {other} beside it"
    scale = scale_of(name, shapes)
    if scale is None:
        return None
    if dtypes[name] not in DTYPES:
        return f"it has a scale and is stored as {dtypes[name]}, not in fp8"
    return _problem_of_scale(shapes[name], shapes[scale])


def _problem_of_scale(shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> str | None:
    is_one, is_by_row = prod(scale_shape) == 1, scale_shape[:1] == shape[:1] and prod(scale_shape[1:]) == 1
    if is_one or is_by_row:
        return None
    return f"its scale has the shape {scale_shape}, neither one number nor one for each row of {shape}"


def restore(stored: Tensor, scale: Tensor | None) -> Tensor:
    """Return the weight, bf16, of the eight-bit one that is ``stored`` and its ``scale``."""
    import torch

    if scale is None:
        return stored.to(torch.bfloat16)
    factors = scale.float().reshape(-1, *[1] * (stored.dim() - 1))
    return (stored.float() * factors).to(torch.bfloat16)
