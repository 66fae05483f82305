"""The frozen base in fewer bits, as in QLoRA (arXiv 2305.14314): the adapter on top stays in full precision."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from zthumb.memory.quantize import NF4_BYTES, Quantization

BYTES: Mapping[str, float] = MappingProxyType({"int8": 1.0, "nf4": NF4_BYTES})
"""Bytes of a weight."""
AS_GENERATED: Mapping[str, Quantization] = MappingProxyType({"none": "none", "int8": "int8wo", "nf4": "nf4"})
"""What generating calls the same, for each that a recipe names."""


def quantize(
    model: nn.Module, kind: str, precision: torch.dtype, device: torch.device, waiting: Collection[nn.Module] = ()
) -> None:
    """Replace the linear modules of ``model`` by ones of ``kind``, int8 or nf4, on ``device``, that compute in ``precision``.

    Convolutions stay as they are. The model must still be on the CPU: weights are quantized on their way to the device, so
    that full precision never resides there. Those inside ``waiting`` blocks return to the CPU.
    """
    make = _MAKERS[kind](precision)
    inside = {module for block in waiting for module in block.modules()}
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            parent, _, attribute = name.rpartition(".")
            quantized = make(module).to(device)
            setattr(model.get_submodule(parent), attribute, quantized.to("cpu") if module in inside else quantized)


def linear_weights(model: nn.Module) -> int:
    """Return how many weights ``quantize`` would replace, were ``model`` without its adapter."""
    layers = (module for name, module in model.named_modules() if type(module) is nn.Linear and ".lora_" not in name)
    return sum(layer.weight.numel() for layer in layers)


def _int8(_: torch.dtype) -> Callable[[nn.Linear], nn.Module]:
    from bitsandbytes.nn import Int8Params, Linear8bitLt

    def make(linear: nn.Linear) -> nn.Module:
        quantized: nn.Module = Linear8bitLt(
            linear.in_features, linear.out_features, linear.bias is not None, has_fp16_weights=False, threshold=0.0
        )
        quantized.weight = Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
        quantized.bias = linear.bias
        return quantized

    return make


def _nf4(precision: torch.dtype) -> Callable[[nn.Linear], nn.Module]:
    from zthumb.memory.nf4_linear import Nf4Linear

    return partial(Nf4Linear, precision=precision)


_MAKERS: Mapping[str, Callable[[torch.dtype], Callable[[nn.Linear], nn.Module]]] = MappingProxyType({"int8": _int8, "nf4": _nf4})
