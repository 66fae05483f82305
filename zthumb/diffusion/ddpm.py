"""Denoising diffusion (DDPM, arXiv 2006.11239): discrete timesteps of a schedule of cumulative alphas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zthumb.diffusion.process import DiffusionProcess, TimeDistribution

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]
"""What a denoiser predicts: the noise, or the velocity between noise and latents (arXiv 2202.00512)."""


class DDPM(DiffusionProcess):
    """The process whose schedule is ``alphas_cumprod`` (T,), falling from one to nearly zero."""

    def __init__(self, alphas_cumprod: Tensor, prediction: Prediction) -> None:
        self.alphas_cumprod, self.prediction = alphas_cumprod, prediction
        self.end = len(alphas_cumprod)

    def to(self, device: torch.device) -> DDPM:
        """See ``DiffusionProcess``."""
        return DDPM(self.alphas_cumprod.to(device), self.prediction)

    def draw_time(self, distribution: TimeDistribution, size: tuple[int, int], generator: torch.Generator) -> float:  # noqa: ARG002
        """See ``DiffusionProcess``; a timestep, 0 … T - 1."""
        import torch

        if distribution.kind == "uniform":
            return int(torch.randint(self.end, (), generator=generator))
        normal = distribution.mean + distribution.deviation * torch.randn((), generator=generator)
        return min(self.end - 1, int(normal.sigmoid() * self.end))

    def add_noise(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """See ``DiffusionProcess``."""
        alphas = self._alphas(times)
        return alphas.sqrt() * latents + (1 - alphas).sqrt() * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """See ``DiffusionProcess``."""
        if self.prediction == "epsilon":
            return noise
        alphas = self._alphas(times)
        return alphas.sqrt() * noise - (1 - alphas).sqrt() * latents

    def signal_to_noise(self, times: Tensor) -> Tensor:
        """Return the ratio of the latents' power to the noise's (B,)."""
        alphas = self.alphas_cumprod[times]
        return alphas / (1 - alphas)

    def loss_weights(self, times: Tensor, min_snr_gamma: float | None) -> Tensor:
        """See ``DiffusionProcess``: min(SNR, gamma) / SNR for noise, / (SNR + 1) for velocity (Min-SNR, arXiv 2303.09556)."""
        import torch

        ratio = self.signal_to_noise(times)
        if min_snr_gamma is None:
            return torch.ones_like(ratio)
        return ratio.clamp(max=min_snr_gamma) / (ratio if self.prediction == "epsilon" else ratio + 1)

    def _alphas(self, times: Tensor) -> Tensor:
        return self.alphas_cumprod[times].reshape(-1, 1, 1, 1)
