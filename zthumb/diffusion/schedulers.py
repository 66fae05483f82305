"""The named schedulers: how the way from noise to image is divided into steps, and how each is taken."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

SchedulerName = Literal["dpmpp_2m_karras", "euler", "euler_a", "ddim", "pndm", "unipc", "lcm"]
NAMES: tuple[str, ...] = get_args(SchedulerName)

_KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
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


def make(name: str | None, base: Any, spacing: str | None = None) -> Any:
    """A fresh scheduler for the noise that the pipeline's own scheduler ``base`` describes, or, without a name, one of its kind.

    ``spacing`` says where the steps lie among the timesteps, if not as ``base`` has it: "trailing" begins at pure noise.
    """
    import diffusers

    kind, settings = (type(base).__name__, {}) if name is None else _KINDS[name]
    # Settings of one kind mean nothing to another, and would be warned of.
    known = {key: value for key, value in base.config.items() if name is None or key in _SHARED}
    if spacing is not None:
        settings = {**settings, "timestep_spacing": spacing}
    return getattr(diffusers, kind).from_config({**known, **settings})


def name_of(scheduler: Any) -> str:
    """The name of a scheduler's kind, or its class where it has none here."""
    kind = type(scheduler).__name__
    return next((name for name, (known, _) in _KINDS.items() if known == kind), kind)


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
