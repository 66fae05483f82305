"""What an image is generated from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GenerationParams:
    """What one image is generated from. Width and height are in pixels; without a scheduler it is the base's own.

    ``prompt_parser`` is the grammar of both prompts. ``true_cfg_scale`` is the scale of classifier-free guidance in families
    whose denoiser is told ``guidance_scale`` itself; 1 is none. ``original_size`` is the width and height that the base is
    conditioned on as those before cropping (arXiv 2307.01952, section 2.2); None: the image's own.
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
