"""Images and latents by the autoencoder of Wan 2.1, for videos of one frame, as Qwen-Image has it."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from zthumb.families.base import ModelFamily
from zthumb.families.shared.autoencoder_kl import FACTOR

if TYPE_CHECKING:
    from torch import Tensor

_OVERLAP = 4
"""Tiles overlap by a quarter of their edge."""


class WanAutoencoderFamily(ModelFamily, ABC):
    """A family whose latents are (x - mean) / deviation, for each channel, of what its autoencoder makes of an image."""

    image_components = ("vae",)

    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        import torch

        vae = pipeline.vae
        with torch.no_grad():
            latents = vae.encode(images.to(vae.device, vae.dtype).unsqueeze(2)).latent_dist.mean[:, :, 0].float()
        mean, deviation = _statistics(vae, latents)
        scaled: Tensor = (latents - mean) / deviation
        return scaled

    def decode_latents(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        import torch

        vae = pipeline.vae
        mean, deviation = _statistics(vae, latents.float())
        unscaled = (latents.float() / (1 / deviation) + mean).to(vae.dtype).unsqueeze(2)
        if tile is not None:
            stride = tile - tile // _OVERLAP
            vae.enable_tiling(tile, tile, stride, stride)
        try:
            with torch.no_grad():
                images: Tensor = vae.decode(unscaled).sample[:, :, 0].float()
        finally:
            vae.disable_tiling()
        return images.clamp(-1, 1)

    def decode_dummy(self, autoencoder: Any, count: int, height: int, width: int) -> None:
        import torch

        shape = (autoencoder.config.z_dim, 1, height // FACTOR, width // FACTOR)
        autoencoder.decode(torch.zeros(count, *shape, dtype=autoencoder.dtype))


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the deviation of each channel, both (channels, 1, 1)."""
    mean, deviation = (like.new_tensor(values) for values in (vae.config.latents_mean, vae.config.latents_std))
    return mean[:, None, None], deviation[:, None, None]
