"""What an image is generated from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zthumb.diffusion.guidance_schedule import UNCHANGED, GuidanceSchedule

if TYPE_CHECKING:
    from zthumb.diffusion.guidance import Guidance
    from zthumb.families.base import ModelFamily


@dataclass(frozen=True)
class GenerationParams:
    """What one image is generated from. Width and height are in pixels; without a scheduler it is the base's own.

    ``prompt_parser`` is the grammar of both prompts. ``true_cfg_scale`` is the scale of classifier-free guidance in families
    whose denoiser is told ``guidance_scale`` itself; 1 is none. ``original_size`` is the width and height that the base is
    conditioned on as those before cropping (arXiv 2307.01952, section 2.2); None: the image's own. The schedules of guidance are
    texts that ``GuidanceSchedule.parse`` takes. Of the predictions after the first, one of ``step_cache`` is computed.
    """

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str | None = None
    prompt_parser: str = "plain"
    true_cfg_scale: float = 1.0
    original_size: tuple[int, int] | None = None
    guidance_schedule: str = UNCHANGED
    embedded_guidance_schedule: str = UNCHANGED
    step_cache: int = 1

    def guidance(self, family: ModelFamily) -> Guidance:
        """Return how a base of ``family`` is guided."""
        return replace(
            family.guidance(self.guidance_scale, self.true_cfg_scale),
            schedule=GuidanceSchedule.parse(self.guidance_schedule),
            embedded_schedule=GuidanceSchedule.parse(self.embedded_guidance_schedule),
        )
