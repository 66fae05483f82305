"""Images and latents by an ``AutoencoderKL`` of factor eight, as Stable Diffusion, FLUX.1 and Z-Image have it."""

from __future__ import annotations

import contextlib
from abc import ABC
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zthumb.families.base import ModelFamily

if TYPE_CHECKING:
    from torch import Tensor

FACTOR = 8
"""Pixels of an image's edge for one of its latents'."""


class AutoencoderKLFamily(ModelFamily, ABC):
    """A family whose latents are (x - shift) · scale of what its autoencoder makes of an image; without a shift it is 0."""

    image_components = ("vae",)
    decodes_in_full_precision = True

    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        import torch

        vae = _in_full_precision(pipeline.vae)
        with torch.no_grad():
            latents = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mean
        shift = vae.config.shift_factor
        scaled: Tensor = ((latents if shift is None else latents - shift) * vae.config.scaling_factor).float()
        return scaled

    def decode_latents(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        import torch

        vae = _in_full_precision(pipeline.vae)
        unscaled, shift = latents.float() / vae.config.scaling_factor, vae.config.shift_factor
        with torch.no_grad(), _tiled(vae, tile):
            images: Tensor = vae.decode(unscaled if shift is None else unscaled + shift).sample
        return images.clamp(-1, 1)

    def decode_dummy(self, autoencoder: Any, count: int, height: int, width: int) -> None:
        import torch

        shape = (autoencoder.config.latent_channels, height // FACTOR, width // FACTOR)
        autoencoder.decode(torch.zeros(count, *shape, dtype=autoencoder.dtype))


def _in_full_precision(vae: Any) -> Any:
    """The autoencoder in fp32: SDXL's overflows in fp16."""
    import torch

    return vae if vae.dtype == torch.float32 else vae.to(torch.float32)


@contextlib.contextmanager
def _tiled(vae: Any, tile: int | None) -> Iterator[None]:
    """The autoencoder decoding in tiles for the length of the block, if there is an edge for them."""
    if tile is None:
        yield
        return
    before = vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = True, tile, tile // FACTOR
    try:
        yield
    finally:
        vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = before
