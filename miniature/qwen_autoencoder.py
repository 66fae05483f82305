"""The autoencoder of mini-qwen-image: ``AutoencoderKLQwenImage``, fitted to the latents of mini-sdxl's autoencoder.

Its encoder learns to return those latents and its decoder to decode them, each on its own: neither has to wait for the other.
"""

from pathlib import Path
from types import MethodType

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor, nn
from torch.nn import functional

from foundation.seeds import derive
from miniature.architectures import qwen_image
from miniature.autoencoder import to_tensor
from miniature.loop import Schedule, Task, Tensors, train

SCHEDULE = Schedule(steps=4_000, batch=8, rate=2e-3)
_NOISE = 0.05
"""Deviation of the noise on latents that the decoder learns from: those of an encoder or a transformer are never quite right."""


def fit(
    images: np.ndarray, latents: Tensor, seed: int, folder: Path, device: torch.device, schedule: Schedule = SCHEDULE
) -> AutoencoderKLQwenImage:
    """Train on ``images`` (N, 128, 128, 3) and their standardized ``latents`` (N, 4, 16, 16), resuming from ``folder``."""
    torch.manual_seed(derive(seed, "qwen autoencoder", "weights"))
    model = qwen_image.autoencoder().to(device)
    convolve_images(model)

    def batch_at(step: int) -> Tensors:
        generator = torch.Generator().manual_seed(derive(seed, "qwen autoencoder", step))
        indices = torch.randint(len(images), (schedule.batch,), generator=generator).tolist()
        noise = torch.randn((len(indices), *latents.shape[1:]), generator=generator)
        return torch.stack([to_tensor(images[index]) for index in indices]), latents[indices], noise

    trained = train("qwen_autoencoder", model, Task(batch_at, _Loss(model)), schedule, folder / "autoencoder.pt", device)
    # With convolutions over frames again, which ``trained`` has as a copy of ``model`` does.
    fitted = qwen_image.autoencoder()
    fitted.load_state_dict(trained.state_dict())
    return fitted.eval()


def convolve_images(model: AutoencoderKLQwenImage) -> None:
    """Make the convolutions over frames of ``model`` convolve single images: the others of their taps see padding alone.

    That takes a third of the time.
    """
    for module in model.modules():
        if isinstance(module, QwenImageCausalConv3d):
            with torch.no_grad():
                module.weight[:, :, :-1] = 0
            module.forward = MethodType(_convolve_image, module)


def _convolve_image(self: QwenImageCausalConv3d, frames: Tensor) -> Tensor:
    padding = self.kernel_size[1] // 2, self.kernel_size[2] // 2
    return functional.conv2d(frames[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], padding)[:, :, None]


class _Loss(nn.Module):
    """The errors of the encoder's latents and of the decoder's images."""

    def __init__(self, model: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
        """Return the loss over ``images`` (B, 3, 128, 128) and their ``latents``, with ``noise`` of the same shape."""
        model = self.model
        mean, log_variance = model.quant_conv(model.encoder(images[:, :, None]))[:, :, 0].float().chunk(2, dim=1)
        errors = (mean - latents).pow(2)
        # The variance of a Gaussian around the mean that makes the latents likeliest is the squared error.
        deviation = 0.5 * (log_variance + errors.detach() * torch.exp(-log_variance.clamp(-20, 20)))
        noisy = (latents + _NOISE * noise)[:, :, None]
        difference = model.decoder(model.post_quant_conv(noisy))[:, :, 0].float() - images
        coarse = functional.avg_pool2d(difference, 8).pow(2).mean()
        decoding = difference.abs().mean() + difference.pow(2).mean() + coarse
        loss: Tensor = decoding + errors.mean() + 0.01 * deviation.mean()
        return loss
