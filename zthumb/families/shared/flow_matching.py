"""What transformers trained by flow matching have in common: a process, its schedulers, names in adapters and files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.diffusion import schedulers
from zthumb.diffusion.flow_match import FlowMatch, ResolutionShift
from zthumb.families.base import ModelFamily

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zthumb.checkpoints.checkpoint_key import CheckpointKey

DENOISER_PREFIX = "model.diffusion_model."
"""What the names of the transformer's tensors begin with in a file that has other components too."""


class FlowMatchingFamily(ModelFamily, ABC):
    """A family whose denoiser is a transformer that predicts the velocity from latents to noise."""

    is_flow = True
    schedulers = schedulers.FLOW_NAMES
    denoiser_component = "transformer"
    transformer_targets: Mapping[str, Sequence[str]]
    """By name of a target set the suffixes of the transformer's modules that get an adapter."""

    def prediction(self, folder: Path) -> str:  # noqa: ARG002
        return "flow"

    def resolution(self, folder: Path) -> int:
        # Its transformer has no size of its own, and its autoencoder says what both were trained at.
        return int(self.configuration(folder, "vae")["sample_size"])

    def process(self, pipeline: Any) -> FlowMatch:
        return FlowMatch(ResolutionShift.of(pipeline.scheduler.config))

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, latents: Tensor) -> None:
        # The base's own scheduler knows the shift; one of another kind forgets it.
        schedulers.set_flow_timesteps(scheduler, steps, latents, ResolutionShift.of(pipeline.scheduler.config))

    @abstractmethod
    def checkpoint_key(self, component: str, name: str, configuration: Any) -> CheckpointKey:
        """Return the place in published files of the tensor ``name`` of a component with that ``configuration``."""

    def checkpoint_keys(self, component: str, model: Any) -> Mapping[str, CheckpointKey]:
        return {name: self.checkpoint_key(component, name, model.config) for name in model.state_dict()}

    lora_prefixes: Mapping[str, str] = MappingProxyType({"transformer": "lora_unet_"})
    other_lora_prefixes: Mapping[str, str] = MappingProxyType({"lora_transformer_": "lora_unet_"})
    module_prefixes: Mapping[str, Sequence[str]] = MappingProxyType({"transformer": (DENOISER_PREFIX, "diffusion_model.")})
    embedding_keys: Mapping[str, str] = MappingProxyType({})

    def lora_targets(self, component: str) -> Mapping[str, Sequence[str]]:
        return self.transformer_targets if component == self.denoiser_component else {}


def without_prefix(*beginnings: str) -> Mapping[str, str]:
    """Return the aliases of single files that are the transformer alone, whose names begin with one of ``beginnings``."""
    return MappingProxyType({beginning: f"{DENOISER_PREFIX}{beginning}" for beginning in beginnings})


def cut_by(tokenizer: Any, text: str, most: int) -> str:
    """Return the end of ``text`` that is not among the first ``most`` tokens, end mark included; empty if it fits."""
    # A token is a byte at least, but for the mark.
    if len(text.encode()) < most:
        return ""
    tokens = tokenizer(text, return_offsets_mapping=True, verbose=False)
    offsets = [offset for offset in tokens["offset_mapping"] if offset != (0, 0)]
    marks = len(tokens["input_ids"]) - len(offsets)
    return text[offsets[most - marks][0] :].strip() if len(offsets) + marks > most else ""
