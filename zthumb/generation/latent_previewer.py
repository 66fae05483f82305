"""What latents look like without the autoencoder: a linear map of their channels to red, green and blue.

An autoencoder of eight times fewer pixels keeps a place's colour nearly linearly in its channels. The map is not a table of
numbers for one model: the autoencoder is asked once what each channel alone looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

    from zthumb.families.base import ModelFamily

_EDGE, _STRENGTH = 8, 1.0


@dataclass(frozen=True)
class LatentPreviewer:
    """``colours`` (channels, 3) are added up by the latents to ``ground`` (3,), in -1 … 1."""

    colours: Tensor
    ground: Tensor

    @classmethod
    def of(cls, pipeline: Any, family: ModelFamily, device: torch.device) -> LatentPreviewer:
        """That of a pipeline's autoencoder, which is on ``device``."""
        channels = family.latent_shape(pipeline, 0, 0)[0]
        plain = torch.zeros(1 + channels, channels, _EDGE, _EDGE, device=device)
        for channel in range(channels):
            plain[1 + channel, channel] = _STRENGTH
        # Away from the edges, where the autoencoder sees that the image ends.
        seen = family.decode_latents(pipeline, plain)
        half = seen.shape[-1] // 4
        means = seen[..., half:-half, half:-half].mean(dim=(2, 3)).float().cpu()
        return cls((means[1:] - means[0]) / _STRENGTH, means[0])

    def preview(self, latents: Tensor) -> Image.Image:
        """The first of the latents (1, channels, h, w) as an image of h × w pixels, noise scaled down to what an image has."""
        from PIL import Image

        first = latents[0].detach().float().cpu()
        first = first / first.std().clamp(min=1.0)
        values = torch.einsum("chw,cr->hwr", first, self.colours) + self.ground
        return Image.fromarray(((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy())
