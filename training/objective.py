"""The epsilon objective with min-SNR weights."""

from torch import Tensor


def add_noise(latents: Tensor, noise: Tensor, levels: Tensor, timesteps: Tensor) -> Tensor:
    """Latents (B, C, H, W) at ``timesteps`` (B,) of a schedule with cumulated alphas ``levels`` (DDPM, arXiv 2006.11239)."""
    kept = levels[timesteps].reshape(-1, 1, 1, 1)
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def signal_to_noise(levels: Tensor, timesteps: Tensor) -> Tensor:
    """The ratio of the latents' power to the noise's (B,) at ``timesteps`` (B,)."""
    return levels[timesteps] / (1 - levels[timesteps])


def min_snr_weights(levels: Tensor, timesteps: Tensor, gamma: float) -> Tensor:
    """Loss weights (B,) of an epsilon objective, min(SNR, gamma) / SNR (Min-SNR, arXiv 2303.09556)."""
    ratio = signal_to_noise(levels, timesteps)
    return ratio.clamp(max=gamma) / ratio


def weighted_error(predicted: Tensor, target: Tensor, weights: Tensor, where: Tensor | None = None) -> Tensor:
    """The mean over the batch of each picture's squared error times its weight.

    ``where`` (B, 1, H, W), of mean one, weighs the places within each picture.
    """
    errors = (predicted.float() - target.float()).pow(2)
    if where is not None:
        errors = errors * where
    return (errors.mean(dim=(1, 2, 3)) * weights).mean()
