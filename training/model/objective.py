"""The denoising objectives: what is predicted, at which noise, and what each timestep counts."""

import torch
from torch import Tensor

from foundation.errors import StageFailed
from training.recipe import ObjectiveRecipe
from zthumb.families.base import Prediction


def not_finite(what: str) -> StageFailed:
    """The end of a run whose numbers have gone wrong; ``what`` is a clause that says which and where."""
    return StageFailed(f"{what}. The last checkpoint is as it was. Lower optimizer.lr, or use precision: fp32.")


def add_noise(latents: Tensor, noise: Tensor, levels: Tensor, timesteps: Tensor) -> Tensor:
    """Latents (B, C, H, W) at ``timesteps`` (B,) of a schedule with cumulated alphas ``levels`` (DDPM, arXiv 2006.11239)."""
    kept = levels[timesteps].reshape(-1, 1, 1, 1)
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def target(prediction: Prediction, latents: Tensor, noise: Tensor, levels: Tensor, timesteps: Tensor) -> Tensor:
    """What the denoiser should predict (B, C, H, W): the noise, or the velocity between noise and latents (arXiv 2202.00512)."""
    if prediction == "epsilon":
        return noise
    kept = levels[timesteps].reshape(-1, 1, 1, 1)
    return kept.sqrt() * noise - (1 - kept).sqrt() * latents


def signal_to_noise(levels: Tensor, timesteps: Tensor) -> Tensor:
    """The ratio of the latents' power to the noise's (B,) at ``timesteps`` (B,)."""
    return levels[timesteps] / (1 - levels[timesteps])


def loss_weights(prediction: Prediction, levels: Tensor, timesteps: Tensor, gamma: float | None) -> Tensor:
    """Loss weights (B,): min(SNR, gamma) / SNR for noise, / (SNR + 1) for velocity (Min-SNR, arXiv 2303.09556), else one."""
    ratio = signal_to_noise(levels, timesteps)
    if gamma is None:
        return torch.ones_like(ratio)
    return ratio.clamp(max=gamma) / (ratio if prediction == "epsilon" else ratio + 1)


def squared_errors(predicted: Tensor, wanted: Tensor, where: Tensor | None = None) -> Tensor:
    """Each image's mean squared error (B,); ``where`` (B, 1, H, W) weighs the places within each."""
    errors = (predicted.float() - wanted.float()).pow(2)
    if where is not None:
        errors = errors * where
    return errors.mean(dim=(1, 2, 3))


def draw_noise(like: Tensor, offset: float, generator: torch.Generator) -> Tensor:
    """Noise for one image's latents (C, H, W), each channel shifted as a whole by ``offset`` times a normal number."""
    noise = torch.randn(like.shape, generator=generator)
    return noise + offset * torch.randn((like.shape[0], 1, 1), generator=generator) if offset else noise


def draw_timestep(recipe: ObjectiveRecipe, count: int, generator: torch.Generator) -> int:
    """A timestep, 0 … ``count`` - 1: evenly, or logit-normally (arXiv 2403.03206, section 3.1)."""
    if recipe.timesteps == "uniform":
        return int(torch.randint(count, (), generator=generator))
    normal = recipe.timestep_mean + recipe.timestep_deviation * torch.randn((), generator=generator)
    return min(count - 1, int(normal.sigmoid() * count))
