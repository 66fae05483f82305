"""Flow matching with straight paths (rectified flow, arXiv 2209.03003; logit-normal times, arXiv 2403.03206)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zthumb.diffusion.process import DiffusionProcess, TimeDistribution

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATCH = 2
"""Latents of the edge of a token's square, in all transformers that are trained by flow matching here."""


class Shift(Protocol):
    """A schedule's shift by the size of an image."""

    def log_shift(self, height: int, width: int) -> float:
        """Return the logarithm of the shift for latents of that size."""


@dataclass(frozen=True)
class ResolutionShift:
    """A schedule's shift, whose logarithm grows in a straight line with the number of an image's tokens.

    It is ``base`` at ``base_tokens`` and ``most`` at ``most_tokens``; the defaults are those of diffusers' scheduler.
    """

    base: float = 0.5
    most: float = 1.15
    base_tokens: int = 256
    most_tokens: int = 4096

    @classmethod
    def of(cls, scheduler_config: Any) -> ResolutionShift:
        """Return that of a scheduler's configuration, in the names of diffusers' ``FlowMatchEulerDiscreteScheduler``."""
        return cls(
            scheduler_config.get("base_shift", cls.base),
            scheduler_config.get("max_shift", cls.most),
            scheduler_config.get("base_image_seq_len", cls.base_tokens),
            scheduler_config.get("max_image_seq_len", cls.most_tokens),
        )

    def log_shift(self, height: int, width: int) -> float:
        """Return the logarithm of the shift for latents of that size."""
        tokens = (height // PATCH) * (width // PATCH)
        # In this order, so that the last bit is that of diffusers' pipelines.
        slope = (self.most - self.base) / (self.most_tokens - self.base_tokens)
        return tokens * slope + (self.base - slope * self.base_tokens)


_DEFAULT_SHIFT = ResolutionShift()


class FlowMatch(DiffusionProcess):
    """Noisy latents are (1 - σ) · latents + σ · noise, and the denoiser predicts noise - latents.

    A time is 1000 · σ, 0 < σ ≤ 1. A shift moves drawn σ towards noise: shift · σ / (1 + (shift - 1) · σ), as schedulers of these
    families do (arXiv 2403.03206, section 5.3.2). ``resolution_shift`` is that of the base's scheduler.
    """

    end = 1000

    def __init__(self, resolution_shift: Shift = _DEFAULT_SHIFT) -> None:
        self._resolution_shift = resolution_shift

    def draw_time(self, distribution: TimeDistribution, size: tuple[int, int], generator: torch.Generator) -> float:
        """See ``DiffusionProcess``."""
        import torch

        if distribution.kind == "uniform":
            sigma = 1.0 - float(torch.rand((), generator=generator))  # above zero
        else:
            normal = distribution.mean + distribution.deviation * torch.randn((), generator=generator)
            sigma = float(normal.sigmoid())
        is_by_size = distribution.shift == "resolution"
        shift = math.exp(self._resolution_shift.log_shift(*size)) if is_by_size else float(distribution.shift)
        return self.end * shift * sigma / (1 + (shift - 1) * sigma)

    def add_noise(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """See ``DiffusionProcess``."""
        sigmas = (times / self.end).reshape(-1, 1, 1, 1)
        return (1 - sigmas) * latents + sigmas * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:  # noqa: ARG002
        """See ``DiffusionProcess``."""
        return noise - latents

    def loss_weights(self, times: Tensor, min_snr_gamma: float | None) -> Tensor:  # noqa: ARG002
        """See ``DiffusionProcess``; one everywhere: Min-SNR weights are for predictions of noise and of DDPM velocities."""
        import torch

        return torch.ones_like(times, dtype=torch.float32)
