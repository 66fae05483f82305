"""A denoiser's linear weights in eight bits, by the names that people know from TorchAO; an adapter goes on top.

Weights in eight bits are never merged with an adapter: what is taken off again must leave the base as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from foundation.errors import BadInput

if TYPE_CHECKING:
    import torch

Quantization = Literal["none", "int8wo", "fp8wo", "int8dq", "fp8dq"]
"""``wo`` keeps weights alone in eight bits, ``dq`` multiplies in them too; ``fp8dq`` takes a GPU that can."""

_FP8_PRODUCTS = (8, 9)
"""The compute capability that fp8 products take."""


def quantize(denoiser: Any, kind: Quantization, device: torch.device) -> None:
    """Put the linear weights of ``denoiser``, which is on ``device``, into the form called ``kind``; ``none`` leaves them.

    ``BadInput`` where ``device`` cannot multiply in that form.
    """
    if kind == "none":
        return
    from torchao.quantization import quantize_

    if kind == "fp8dq" and not _multiplies_in_fp8(device):
        raise BadInput(
            "quantization: fp8dq multiplies in fp8, which takes a GPU of compute capability 8.9 or later. Take int8dq, or fp8wo, "
            "which keeps weights in fp8 and multiplies as the precision says."
        )
    quantize_(denoiser, _configuration(kind))


def _multiplies_in_fp8(device: torch.device) -> bool:
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FP8_PRODUCTS


def _configuration(kind: Quantization) -> Any:
    from torchao import quantization

    names = {
        "int8wo": "Int8WeightOnlyConfig",
        "fp8wo": "Float8WeightOnlyConfig",
        "int8dq": "Int8DynamicActivationInt8WeightConfig",
        "fp8dq": "Float8DynamicActivationFloat8WeightConfig",
    }
    return getattr(quantization, names[kind])()
