"""Quantize a denoiser's linear weights to eight bits, under TorchAO's names; adapters are applied on top.

Eight-bit weights are never merged with an adapter: unloading it must restore the base exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from foundation.errors import BadInput

if TYPE_CHECKING:
    import torch

    from zthumb.memory.salience import Factors

Quantization = Literal["none", "int8wo", "fp8wo", "int8dq", "fp8dq"]
"""``wo`` quantizes only the weights, ``dq`` also the activations, and multiplies in eight bits; ``fp8dq`` needs a newer GPU."""

BYTES: Mapping[Quantization, float] = MappingProxyType({"int8wo": 1.0, "fp8wo": 1.0, "int8dq": 1.0, "fp8dq": 1.0})
"""Bytes of a linear weight, without the scale of each row."""
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


def quantize(denoiser: Any, kind: Quantization, device: torch.device, factors: Factors = NO_FACTORS) -> None:
    """Quantize the linear layers in the blocks of ``denoiser``, one by one on their way to ``device``, to ``kind``.

    So their full precision never resides there. All else of the denoiser stays as and where it is: what is outside the blocks,
    such as the first and last layers, is small, and rounding it shows most. ``none`` leaves all as it is. Layers with ``factors``
    (``zthumb.memory.salience``) are balanced before.
    """
    if kind == "none":
        return
    from torchao.quantization import quantize_

    from zthumb.families.shared.balanced_linear import BalancedLinear
    from zthumb.memory.block_swap import layers_in_blocks

    # By path: those of layers that an adapter or a factor wraps are the same.
    paths = set(layers_in_blocks(denoiser))
    for name, values in factors.items():
        denoiser.set_submodule(name, BalancedLinear(denoiser.get_submodule(name), values))
    quantize_(denoiser, _configuration(kind), filter_fn=lambda _, path: path in paths, device=device)


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
