"""Choose how the weights and activations of a base share what rounding to eight bits loses, by the error of its predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foundation.device import choose_device
from zthumb import families
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.generation.parameters import GenerationParams
from zthumb.memory.predictions import Predictions
from zthumb.memory.quantize import Quantization, check_quantization, quantize
from zthumb.memory.salience import Activations, Factors

EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_PREDICTIONS = 24
"""How many predictions an exponent is judged by, evenly spread over prompts and steps."""


@dataclass(frozen=True)
class Calibration:
    """The relative error of predictions by exponent, the best exponent, and its factors: none if it is 0."""

    errors: Mapping[float, float]
    exponent: float
    factors: Factors
    base_sha256: str


def calibrate(
    base: Path,
    quantization: Quantization,
    prompts: Sequence[str],
    steps: int | None = None,
    device: str = "auto",
    on_progress: Callable[[float], object] = lambda _: None,
) -> Calibration:
    """Generate an image of each prompt with the ``base``, then predict the same with each exponent.

    The base's denoiser is in memory twice. ``on_progress`` is called with the share that is done.
    """
    check_quantization(quantization, choose_device(device))
    backend = Backend(WeightsLocation(base, base), Options(device=device))
    family = families.get(backend.info.family)
    denoiser = family.denoiser(backend.pipeline)
    limits, size = backend.limits(family), backend.info.resolution
    activations, predictions = Activations(), Predictions()
    count = steps or limits.default_steps
    work = len(prompts) + len(EXPONENTS)
    with activations.observe(denoiser), predictions.record(denoiser, every=max(1, len(prompts) * count // _PREDICTIONS)):
        for index, prompt in enumerate(prompts):
            backend.generate(
                [GenerationParams(prompt, None, size, size, index, count, limits.default_guidance_scale)], _ignore, {}
            )
            on_progress((index + 1) / work)
    errors = {}
    for index, exponent in enumerate(EXPONENTS):
        quantized = copy.deepcopy(denoiser)
        factors = activations.factors(denoiser, exponent) if exponent else {}
        place = torch.device(backend.info.device)
        quantize(quantized, quantization, place, place, factors)
        errors[exponent] = predictions.error(quantized)
        on_progress((len(prompts) + index + 1) / work)
    best = min(errors, key=lambda exponent: errors[exponent])
    return Calibration(errors, best, activations.factors(denoiser, best) if best else {}, backend.info.base_sha256)


def _ignore(*_: Any) -> None:
    return
