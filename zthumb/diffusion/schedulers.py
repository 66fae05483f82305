"""The named schedulers: how the way from noise to image is divided into steps, and how each is taken."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.diffusion.flow_match import Shift

SchedulerName = Literal["dpmpp_2m_karras", "euler", "euler_a", "ddim", "pndm", "unipc", "lcm"]
NAMES: tuple[str, ...] = get_args(SchedulerName)

_Kinds = Mapping[str, tuple[str, Mapping[str, Any]]]

_DDPM: _Kinds = MappingProxyType(
    {
        # DPM-Solver++ (arXiv 2211.01095) at the noise levels of Karras et al. (arXiv 2206.00364).
        "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        "euler": ("EulerDiscreteScheduler", {}),
        "euler_a": ("EulerAncestralDiscreteScheduler", {}),
        "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
        "unipc": ("UniPCMultistepScheduler", {}),
        "lcm": ("LCMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    }
)
_FLOW: _Kinds = MappingProxyType(
    {
        "euler": ("FlowMatchEulerDiscreteScheduler", {}),
        "euler_a": ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
        "unipc": ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
        "lcm": ("FlowMatchLCMScheduler", {}),
    }
)
DDPM_NAMES, FLOW_NAMES = tuple(_DDPM), tuple(_FLOW)


def make(name: str | None, base: Any, spacing: str | None = None) -> Any:
    """A fresh scheduler for the noise that the pipeline's own scheduler ``base`` describes, or, without a name, one of its kind.

    ``spacing`` says where the steps lie among DDPM's timesteps, if not as ``base`` has it: "trailing" begins at pure noise, where
    flow matching begins anyway.
    """
    import diffusers

    kinds, shared = (_FLOW, _SHARED_FLOW) if is_flow(base) else (_DDPM, _SHARED)
    kind, settings = (type(base).__name__, {}) if name is None else kinds[name]
    # Settings of one kind mean nothing to another, and would be warned of.
    known = {key: value for key, value in base.config.items() if name is None or key in shared}
    if kind == "UniPCMultistepScheduler" and "shift" in known:
        known["flow_shift"] = known.pop("shift")
    if spacing is not None and not is_flow(base):
        settings = {**settings, "timestep_spacing": spacing}
    return getattr(diffusers, kind).from_config({**known, **settings})


def changed(scheduler: Any, settings: Mapping[str, Any]) -> Any:
    """A fresh scheduler of the same kind with some settings changed."""
    return type(scheduler).from_config({**scheduler.config, **settings})


def is_flow(scheduler: Any) -> bool:
    """Whether a base's own scheduler is one of flow matching."""
    return type(scheduler).__name__.startswith("FlowMatch") or bool(scheduler.config.get("use_flow_sigmas"))


def set_flow_timesteps(scheduler: Any, steps: int, latents: Tensor, shift: Shift) -> None:
    """Set the timesteps of a scheduler of flow matching for ``latents`` (B, C, h, w), by ``shift`` if it depends on their size.

    As in diffusers' pipelines, ``steps`` noise levels lie evenly from 1 to 1 / ``steps`` before they are shifted.
    """
    import numpy as np

    sigmas = np.linspace(1.0, 1 / steps, steps)
    height, width = latents.shape[-2:]
    by_size = {"mu": shift.log_shift(height, width)} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(device=latents.device, sigmas=sigmas, **by_size)


def name_of(scheduler: Any) -> str:
    """The name of a scheduler's kind, or its class where it has none here."""
    kind = type(scheduler).__name__
    kinds = _FLOW if is_flow(scheduler) else _DDPM
    return next((name for name, (known, _) in kinds.items() if known == kind), kind)


_SHARED = (
    "beta_start",
    "beta_end",
    "beta_schedule",
    "num_train_timesteps",
    "prediction_type",
    "steps_offset",
    "timestep_spacing",
    "rescale_betas_zero_snr",
)
_SHARED_FLOW = (
    "num_train_timesteps",
    "shift",
    "use_dynamic_shifting",
    "time_shift_type",
    "shift_terminal",
)
