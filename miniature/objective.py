"""What a miniature's denoiser learns: to predict noise, or the velocity from latents to noise."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from zthumb.diffusion.ddpm import DDPM
from zthumb.diffusion.flow_match import FlowMatch
from zthumb.diffusion.process import DiffusionProcess

TIMESTEPS = 1000
_SHIFT = 2.0
"""The shift of flow matching's times (arXiv 2403.03206, section 5.3.2)."""
NOISE_SCHEDULE: Mapping[str, float | int | str] = MappingProxyType(
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": TIMESTEPS}
)


class Objective(ABC):
    """A diffusion process, and at which times it is trained with which weights."""

    @abstractmethod
    def process(self, device: torch.device) -> DiffusionProcess:
        """Return the process, for tensors on ``device``."""

    @abstractmethod
    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the times (count,) of a batch."""

    @abstractmethod
    def weights(self, process: DiffusionProcess, times: Tensor) -> Tensor:
        """Return the weight (B,) of the squared errors at each of ``times``."""


class NoiseObjective(Objective):
    """Noise is predicted at every timestep of Stable Diffusion's schedule."""

    def process(self, device: torch.device) -> DDPM:
        """See ``Objective``."""
        return DDPM(DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod, "epsilon").to(device)

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """See ``Objective``."""
        return torch.randint(TIMESTEPS, (count,), generator=generator)

    def weights(self, process: DiffusionProcess, times: Tensor) -> Tensor:
        """See ``Objective``."""
        # They balance the possible gain of each timestep (arXiv 2310.08442): with equal or min-SNR weights the noisiest
        # timesteps, where the caption alone decides, contribute almost nothing.
        assert isinstance(process, DDPM)
        return process.signal_to_noise(times).rsqrt()


class FlowObjective(Objective):
    """Velocity is predicted with one weight at all times, which are drawn evenly and shifted towards noise.

    That is where the caption decides, and where most steps of the base's scheduler lie.
    """

    def process(self, device: torch.device) -> FlowMatch:  # noqa: ARG002
        """See ``Objective``."""
        return FlowMatch()

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """See ``Objective``."""
        evenly = 1 - torch.rand(count, generator=generator)
        return TIMESTEPS * _SHIFT * evenly / (1 + (_SHIFT - 1) * evenly)

    def weights(self, process: DiffusionProcess, times: Tensor) -> Tensor:  # noqa: ARG002
        """See ``Objective``."""
        return torch.ones_like(times)
