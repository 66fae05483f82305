"""A1111's names of samplers and schedules, and the schedulers of this program that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from foundation.errors import BadInput
from foundation.plugins import suggestion

AUTOMATIC = "Automatic"
_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
        "euler": ("Euler", AUTOMATIC),
        "euler_a": ("Euler a", AUTOMATIC),
        "ddim": ("DDIM", AUTOMATIC),
        "pndm": ("PLMS", AUTOMATIC),
        "unipc": ("UniPC", AUTOMATIC),
        "lcm": ("LCM", AUTOMATIC),
    }
)
_SCHEDULES = (AUTOMATIC, "Uniform", "Karras")
_ALIASES = MappingProxyType({"k_euler": "Euler", "k_euler_a": "Euler a", "euler ancestral": "Euler a", "dpmpp_2m": "DPM++ 2M"})


def names() -> list[str]:
    """Return the samplers that a request may name."""
    return [sampler for sampler, _ in _NAMES.values()]


def schedules() -> list[str]:
    """Return the schedules that a request may name."""
    return list(_SCHEDULES)


def shown(scheduler: str) -> tuple[str, str]:
    """Return A1111's names of a scheduler's sampler and schedule; one that A1111 does not have keeps its own name."""
    return _NAMES.get(scheduler, (scheduler, AUTOMATIC))


def scheduler_of(sampler: str | None, schedule: str | None = None) -> str | None:
    """Return the scheduler that A1111's names mean; None where they leave the choice to the program.

    Raises ``BadInput`` for an unsupported one, with a suggestion.
    """
    name = (sampler or "").strip()
    if (not name or name.lower() in ("automatic", "default")) and (schedule or AUTOMATIC).strip().lower() != "automatic":
        raise BadInput(f"scheduler: {schedule!r} needs a sampler; give one as sampler_name.")
    if not name or name.lower() in ("automatic", "default"):
        return None
    for suffix in _SCHEDULES:
        # Before schedules had a field of their own, they were part of the sampler's name.
        if name.lower().endswith(f" {suffix.lower()}"):
            name, schedule = name[: -len(suffix) - 1], suffix
    name = _ALIASES.get(name.lower(), name)
    match = {known.lower(): (key, default) for key, (known, default) in _NAMES.items()}.get(name.lower())
    if match is None:
        raise BadInput(f"sampler_name: {sampler!r} is not supported. {suggestion(name, names())}")
    scheduler, default = match
    requested = (schedule or AUTOMATIC).strip()
    # This sampler is supported only with Karras noise levels, which A1111 chooses for it by default.
    if requested.lower() not in {"automatic", default.lower(), *(() if default == "Karras" else ("uniform",))}:
        raise BadInput(f"scheduler: {schedule!r} is not supported for sampler {sampler!r}; leave it out.")
    return scheduler
