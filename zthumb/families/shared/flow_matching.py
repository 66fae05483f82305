"""What transformers trained by flow matching have in common: a process, its schedulers, and prompts that are read whole."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from zthumb.diffusion import schedulers
from zthumb.diffusion.flow_match import FlowMatch, ResolutionShift
from zthumb.families.base import ModelFamily

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


class FlowMatchingFamily(ModelFamily, ABC):
    """A family whose denoiser predicts the velocity from latents to noise."""

    is_flow = True
    schedulers = schedulers.FLOW_NAMES

    def prediction(self, folder: Path) -> str:  # noqa: ARG002
        return "flow"

    def process(self, pipeline: Any) -> FlowMatch:
        return FlowMatch(ResolutionShift.of(pipeline.scheduler.config))

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, latents: Tensor) -> None:
        # The base's own scheduler knows the shift; one of another kind forgets it.
        schedulers.set_flow_timesteps(scheduler, steps, latents, ResolutionShift.of(pipeline.scheduler.config))


def cut_by(tokenizer: Any, text: str, most: int) -> str:
    """Return the end of ``text`` that is not among the first ``most`` tokens, end mark included; empty if it fits."""
    # A token is a byte at least, but for the mark.
    if len(text.encode()) < most:
        return ""
    tokens = tokenizer(text, return_offsets_mapping=True, verbose=False)
    offsets = [offset for offset in tokens["offset_mapping"] if offset != (0, 0)]
    marks = len(tokens["input_ids"]) - len(offsets)
    return text[offsets[most - marks][0] :].strip() if len(offsets) + marks > most else ""
