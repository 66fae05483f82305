"""Guidance that a denoiser is told, as FLUX.1 dev and FLUX.2 dev are, which were distilled to follow it (arXiv 2210.03142)."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from zthumb.diffusion.guidance import Guidance
from zthumb.families.base import ModelFamily

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning

GUIDANCE = "guidance"


class EmbeddedGuidanceFamily(ModelFamily, ABC):
    """A family whose denoisers take the guidance scale, those that were distilled to, as ``guidance`` (B,)."""

    def guidance(self, scale: float, true_cfg_scale: float = 1.0) -> Guidance:
        return Guidance(true_cfg_scale, embedded=scale)

    def with_guidance(self, denoiser: Any, conditioning: Conditioning, guidance: Guidance) -> Conditioning:
        import torch

        if not denoiser.config.guidance_embeds:
            return conditioning
        device = next(iter(conditioning.tensors.values()))[0].device
        return conditioning.merge(guidance=torch.full((len(conditioning),), guidance.embedded or 0.0, device=device))
