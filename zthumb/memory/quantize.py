"""Quantize a denoiser's weights to eight bits, under TorchAO's names, or to four; adapters are applied on top.

Quantized weights are never merged with an adapter: unloading it must restore the base exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from foundation.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from zthumb.memory.salience import Factors

Quantization = Literal["none", "int8wo", "fp8wo", "int8dq", "fp8dq", "nf4"]
"""``wo`` quantizes only the weights, of linear layers and convolutions; ``dq`` those of linear layers and also their inputs, and
multiplies in eight bits, ``fp8dq`` on a newer GPU. ``nf4`` has four bits for a weight of a linear layer."""

NF4_BYTES = 0.516
"""Bytes of a weight in NormalFloat-4: half a byte, and a constant for every 64 weights that is quantized itself."""
BYTES: Mapping[Quantization, float] = MappingProxyType(
    {"int8wo": 1.0, "fp8wo": 1.0, "int8dq": 1.0, "fp8dq": 1.0, "nf4": NF4_BYTES}
)
"""Bytes of a weight, without the scale of each row."""
NO_FACTORS: Mapping[str, Any] = MappingProxyType({})
_FP8_CAPABILITY = (8, 9)
"""The compute capability that fp8 products need."""


def check_quantization(kind: Quantization, device: torch.device) -> None:
    """Raise ``BadInput`` where ``device`` cannot multiply in that format."""
    if kind == "fp8dq" and not _multiplies_in_fp8(device):
        raise BadInput(
            "quantization: fp8dq multiplies in fp8, which needs a GPU of compute capability 8.9 or later. Use int8dq, or fp8wo, "
            "which stores weights in fp8 and multiplies in the configured precision."
        )


def writes_out_weights(kind: Quantization) -> bool:
    """Return whether a weight of ``kind`` is written out in the precision of its product, for as long as that takes."""
    return kind.endswith("wo") or kind == "nf4"


def quantized_layers(denoiser: nn.Module, kind: Quantization) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return by path the layers of ``denoiser`` that are quantized to ``kind``: those inside its blocks.

    What is outside the blocks, such as the first and last layers, is small, and rounding it shows most.
    """
    from torch.nn import Conv2d

    from zthumb.memory.block_swap import layers_in_blocks

    layers: dict[str, nn.Linear | nn.Conv2d] = dict(layers_in_blocks(denoiser))
    if kind.endswith("wo"):
        # The first and the last are the model's own children.
        layers |= {name: each for name, each in denoiser.named_modules() if type(each) is Conv2d and "." in name}
    return layers


def quantize(
    denoiser: nn.Module, kind: Quantization, device: torch.device, place: torch.device, factors: Factors = NO_FACTORS
) -> None:
    """Quantize layers of ``denoiser``, which computes on ``device``, to ``kind``, one by one on their way to ``place``.

    So their full precision never resides there. All else of the denoiser stays as and where it is. ``none`` leaves all as it
    is. Layers with ``factors`` (``zthumb.memory.salience``) are balanced before.
    """
    if kind != "none":
        # By path: those of layers that a factor wraps are the same.
        _quantize_layers(denoiser, quantized_layers(denoiser, kind), kind, device, place, factors)


def quantized_copy(weight: Tensor, kind: Quantization, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a layer that keeps ``weight``, of a linear layer or a convolution, as one of ``kind`` in a base of ``dtype``."""
    from torch import nn

    rows, columns, *kernel = weight.shape
    layer: Any = (
        nn.Conv2d(columns, rows, (kernel[0], kernel[1]), bias=False, device="meta")
        if kernel
        else nn.Linear(columns, rows, bias=False, device="meta")
    )
    layer.weight = nn.Parameter(weight.detach().to(device, dtype), requires_grad=False)
    holder = nn.ModuleDict({"layer": layer})
    if kind != "none" and (not kernel or kind.endswith("wo")):
        _quantize_layers(holder, {"layer": layer}, kind, device, device, NO_FACTORS)
    return holder["layer"]


def _quantize_layers(
    model: nn.Module, layers: Mapping[str, Any], kind: Quantization, device: torch.device, place: torch.device, factors: Factors
) -> None:
    if kind == "nf4":
        from zthumb.memory.nf4_linear import Nf4Linear

        for name, layer in layers.items():
            model.set_submodule(name, Nf4Linear(layer).to(device).to(place))
        return
    from torch.nn import Conv2d
    from torchao.quantization import quantize_

    from zthumb.memory.balanced_linear import BalancedLinear
    from zthumb.memory.eight_bit_convolution import EightBitConvolution

    linear = {name: layer for name, layer in layers.items() if not isinstance(layer, Conv2d)}
    for name in layers.keys() - linear.keys():
        model.set_submodule(name, EightBitConvolution(layers[name], "fp8" if kind == "fp8wo" else "int8").to(place))
    for name, values in factors.items():
        model.set_submodule(name, BalancedLinear(linear[name], values))
    quantize_(model, _configuration(kind), filter_fn=lambda _, path: path in linear, device=place)


def _multiplies_in_fp8(device: torch.device) -> bool:
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FP8_CAPABILITY


def _configuration(kind: Quantization) -> Any:
    from torchao import quantization

    names = {
        "int8wo": "Int8WeightOnlyConfig",
        "fp8wo": "Float8WeightOnlyConfig",
        "int8dq": "Int8DynamicActivationInt8WeightConfig",
        "fp8dq": "Float8DynamicActivationFloat8WeightConfig",
    }
    return getattr(quantization, names[kind])()
