"""The autoencoder: an ``AutoencoderKL`` that compresses 128 × 128 images to 16 × 16 latents of 4 channels."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from foundation.files import atomic_file
from foundation.seeds import derive
from miniature.drawing import ImageArray
from miniature.loop import Schedule, Task, Tensors, autocast, train

SCHEDULE = Schedule(steps=5000, batch=64, rate=1e-3)
CROP = 64
KL_WEIGHT = 1e-6


def build() -> AutoencoderKL:
    """Return an untrained autoencoder: f8, 4 latent channels, 1.6 million parameters."""
    channels = (16, 32, 64, 96)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=4,
        # Normalising few channels at a time would erase the level of each, and with it the colours of whole surfaces.
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=128,
    )


class _Loss(nn.Module):
    """The reconstruction error and the KL divergence."""

    def __init__(self, model: AutoencoderKL) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor, noise: Tensor) -> Tensor:
        """Return the loss over ``crops`` (B, 3, 64, 64), their latents sampled with ``noise`` (B, 4, 8, 8)."""
        posterior = self.model.encode(crops).latent_dist
        decoded = self.model.decode(posterior.mean + posterior.std * noise.to(posterior.mean)).sample
        difference = (decoded - crops).float()
        # Squared errors settle the colours of whole surfaces, which absolute errors alone leave for last; absolute errors keep
        # edges sharp.
        coarse = functional.avg_pool2d(difference, 8).pow(2).mean()
        loss: Tensor = difference.abs().mean() + difference.pow(2).mean() + coarse + KL_WEIGHT * posterior.kl().mean()
        return loss


def fit(images: np.ndarray, seed: int, folder: Path, device: torch.device, schedule: Schedule = SCHEDULE) -> AutoencoderKL:
    """Train on crops of ``images`` (N, 128, 128, 3), resuming from ``folder``; the scaling factor is set from the latents."""
    torch.manual_seed(derive(seed, "autoencoder", "weights"))
    model = build().to(device)

    def batch_at(step: int) -> Tensors:
        generator = torch.Generator().manual_seed(derive(seed, "autoencoder", step))
        crops = _crops(images, schedule.batch, generator)
        return crops, torch.randn((len(crops), 4, CROP // 8, CROP // 8), generator=generator)

    task = Task(batch_at, _Loss(model))
    trained: AutoencoderKL = train("autoencoder", model, task, schedule, folder / "autoencoder.pt", device)
    std = encode(trained, images[:512]).std().item()
    trained.register_to_config(scaling_factor=round(1 / std, 5))
    return trained


def _crops(images: np.ndarray, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` views of 64 × 64 pixels: two thirds are crops of an image, one third the full image at half its size."""
    indices = torch.randint(len(images), (count,), generator=generator).tolist()
    corners = torch.randint(images.shape[1] - CROP + 1, (count, 2), generator=generator).tolist()
    crops = []
    for position, (index, (top, left)) in enumerate(zip(indices, corners, strict=True)):
        image = to_tensor(images[index])
        is_full_image = position % 3 == 0
        crops.append(functional.avg_pool2d(image, 2) if is_full_image else image[:, top : top + CROP, left : left + CROP])
    return torch.stack(crops)


def to_tensor(image: ImageArray) -> Tensor:
    """Return an image as (3, height, width) in -1 … 1."""
    return torch.tensor(image).permute(2, 0, 1).float() / 127.5 - 1


def encode_all(model: AutoencoderKL, images: np.ndarray, folder: Path) -> Tensor:
    """Return the scaled latents of all training images, computed once and then loaded from ``folder``."""
    path = folder / "latents.pt"
    if not path.exists():
        with atomic_file(path) as temporary:
            torch.save(encode(model, images) * model.config.scaling_factor, temporary)
    latents = torch.load(path, weights_only=True)
    assert isinstance(latents, Tensor)
    return latents


def standardize(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return scaled ``latents`` of ``model`` with mean 0 and deviation 1, and set its shift and scaling factor to match."""
    unscaled = latents / model.config.scaling_factor
    shift, factor = round(unscaled.mean().item(), 4), round(1 / unscaled.std().item(), 4)
    model.register_to_config(shift_factor=shift, scaling_factor=factor)
    standardized: Tensor = (unscaled - shift) * factor
    return standardized


@torch.no_grad()
def encode(model: AutoencoderKL, images: np.ndarray, batch: int = 64) -> Tensor:
    """Return the means of the latents of ``images``, unscaled, float32 (N, 4, 16, 16)."""
    latents = []
    for start in range(0, len(images), batch):
        chunk = torch.stack([to_tensor(image) for image in images[start : start + batch]]).to(model.device)
        with autocast(model.device):
            latents.append(model.encode(chunk).latent_dist.mean.float().cpu())
    return torch.cat(latents)
