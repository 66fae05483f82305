"""Which input channels of a denoiser's layers are large, and factors that divide what is lost by rounding between both sides.

After PTQ4DiT (arXiv 2405.16005): the salience of a channel is its largest magnitude, in the activations and in the weight, and
steps at which both are large in other channels count more. There the factors are the square root of their quotient; here the
exponent is chosen by the error of predictions, since in a base without outliers the root is worse than no factors at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import BadInput
from foundation.files import atomic_file
from zthumb.memory.block_swap import layers_in_blocks

_SMALLEST, _RANGE = 1e-6, 100.0
_VERSION = "1"
Factors = Mapping[str, Tensor]
"""By path of a linear layer the factor (in,) of each input channel."""


class Activations:
    """The largest magnitudes of each layer's input channels at each of its calls."""

    def __init__(self) -> None:
        self._by_layer: dict[str, list[Tensor]] = {}

    @contextmanager
    def observe(self, denoiser: nn.Module) -> Iterator[None]:
        """Note those of all calls inside the block."""

        def note(name: str, inputs: tuple[Any, ...]) -> None:
            largest = inputs[0].detach().flatten(0, -2).abs().amax(dim=0).float().cpu()
            self._by_layer.setdefault(name, []).append(largest)

        handles = [
            layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs))
            for name, layer in layers_in_blocks(denoiser).items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def factors(self, denoiser: nn.Module, exponent: float) -> dict[str, Tensor]:
        """Return the factors of each layer: the quotient of both saliences, to the power of ``exponent``."""
        layers = layers_in_blocks(denoiser)
        return {name: _factors(torch.stack(steps), layers[name].weight, exponent) for name, steps in self._by_layer.items()}


def _factors(activations: Tensor, weight: Tensor, exponent: float) -> Tensor:
    of_weight = weight.detach().float().abs().amax(dim=0).cpu().clamp(min=_SMALLEST)
    alike = torch.stack([_rank_correlation(step, of_weight) for step in activations])
    of_activations = (torch.softmax(-alike, dim=0)[:, None] * activations).sum(dim=0).clamp(min=_SMALLEST)
    factors = (of_activations / of_weight) ** exponent
    # A common factor changes nothing.
    return (factors / factors.log().mean().exp()).clamp(1 / _RANGE, _RANGE)


def _rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of two sets of numbers."""
    ranks = torch.stack([values.argsort().argsort().float() for values in (first, second)])
    return torch.corrcoef(ranks)[0, 1].nan_to_num()


def write(file: Path, factors: Factors, base_sha256: str, quantization: str) -> None:
    """Write ``factors`` to a file that says which base and which ``quantization`` they are for."""
    from safetensors.torch import save_file

    metadata = {"version": _VERSION, "base_sha256": base_sha256, "quantization": quantization}
    with atomic_file(file) as path:
        save_file({name: tensor.contiguous() for name, tensor in factors.items()}, path, metadata)


def read(file: Path, denoiser: nn.Module, base_sha256: str, quantization: str) -> dict[str, Tensor]:
    """Return the factors in ``file``; ``BadInput`` if they are not for the ``denoiser`` of this base and for ``quantization``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            metadata, factors = opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file}: is no file of `zthumb calibrate`: {error}") from None
    if metadata.get("quantization") != quantization:
        raise BadInput(f"{file}: is calibrated for {metadata.get('quantization', 'nothing')}, not for {quantization}.")
    is_known = factors.keys() <= layers_in_blocks(denoiser).keys()
    if metadata.get("base_sha256") != base_sha256 or not is_known:
        raise BadInput(f"{file}: is calibrated for another base. Run `zthumb calibrate` for this one.")
    return factors
