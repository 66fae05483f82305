"""Flow matching with straight paths (rectified flow, arXiv 2209.03003; logit-normal times, arXiv 2403.03206)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zthumb.diffusion.process import DiffusionProcess, TimeDistribution

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FlowMatch(DiffusionProcess):
    """Noisy latents are (1 - σ) · latents + σ · noise, and the denoiser predicts noise - latents.

    A time is 1000 · σ, 0 < σ ≤ 1. ``shift`` moves drawn σ towards noise: shift · σ / (1 + (shift - 1) · σ), as schedulers of
    these families do (arXiv 2403.03206, section 5.3.2).
    """

    end = 1000

    def __init__(self, shift: float = 1.0) -> None:
        self.shift = shift

    def draw_time(self, distribution: TimeDistribution, generator: torch.Generator) -> float:
        """See ``DiffusionProcess``."""
        import torch

        if distribution.kind == "uniform":
            sigma = 1.0 - float(torch.rand((), generator=generator))  # above zero
        else:
            normal = distribution.mean + distribution.deviation * torch.randn((), generator=generator)
            sigma = float(normal.sigmoid())
        return self.end * self.shift * sigma / (1 + (self.shift - 1) * sigma)

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
