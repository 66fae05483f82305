"""What training asks of a diffusion process: times to train at, noisy latents, targets and loss weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TimeShift = float | Literal["resolution"]
"""How far drawn times are moved towards noise: by a factor, or by that of the base's scheduler for images of a size."""


@dataclass(frozen=True)
class TimeDistribution:
    """How training times are drawn: evenly, or logit-normally (arXiv 2403.03206, section 3.1) with ``mean`` and ``deviation``.

    ``shift`` is for flow matching alone.
    """

    kind: Literal["uniform", "logit_normal"] = "uniform"
    mean: float = 0.0
    deviation: float = 1.0
    shift: TimeShift = 1.0


class DiffusionProcess(ABC):
    """One way of adding noise to latents and of learning to remove it.

    Times (B,) are the numbers that the denoiser is given, 0 (no noise) to ``end``. Latents and noise are (B, C, h, w).
    """

    end: int
    """The upper bound of times; noise is strongest there."""

    def to(self, device: torch.device) -> DiffusionProcess:  # noqa: ARG002
        """Return this process for tensors on ``device``."""
        return self

    @abstractmethod
    def draw_time(self, distribution: TimeDistribution, size: tuple[int, int], generator: torch.Generator) -> float:
        """Draw a time to train at latents of ``size``, their height and width."""

    @abstractmethod
    def add_noise(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the noisy latents at ``times``."""

    @abstractmethod
    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the denoiser should predict."""

    @abstractmethod
    def loss_weights(self, times: Tensor, min_snr_gamma: float | None) -> Tensor:
        """Return the weight (B,) of each squared error; one where ``min_snr_gamma`` is None."""

    def strata(self, count: int) -> list[int]:
        """Return the middle of each of ``count`` equal parts of the times."""
        return [int((index + 0.5) * self.end / count) for index in range(count)]
