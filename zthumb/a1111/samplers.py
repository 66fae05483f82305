"""A1111's names of samplers and schedules, and the schedulers here that they mean."""

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
        "unipc": ("UniPC", AUTOMATIC),
        "lcm": ("LCM", AUTOMATIC),
    }
)
_SCHEDULES = (AUTOMATIC, "Uniform", "Karras")
_ALIASES = MappingProxyType({"k_euler": "Euler", "k_euler_a": "Euler a", "euler ancestral": "Euler a", "dpmpp_2m": "DPM++ 2M"})


def names() -> list[str]:
    """The samplers that can be asked for."""
    return [sampler for sampler, _ in _NAMES.values()]


def schedules() -> list[str]:
    """The schedules that can be asked for."""
    return list(_SCHEDULES)


def shown(scheduler: str) -> tuple[str, str]:
    """Sampler and schedule as A1111 calls them; what it has no name for is called as here."""
    return _NAMES.get(scheduler, (scheduler, AUTOMATIC))


def scheduler_of(sampler: str | None, schedule: str | None = None) -> str | None:
    """The scheduler that A1111's names mean, None where they leave it to the program.

    Raises ``BadInput`` for one that is not here, with those that are.
    """
    named = (sampler or "").strip()
    if (not named or named.lower() in ("automatic", "default")) and (schedule or AUTOMATIC).strip().lower() != "automatic":
        raise BadInput(f"scheduler: {schedule!r} goes with a sampler; name one as sampler_name.")
    if not named or named.lower() in ("automatic", "default"):
        return None
    for each in _SCHEDULES:
        # Before schedules had a field of their own, they were part of the sampler's name.
        if named.lower().endswith(f" {each.lower()}"):
            named, schedule = named[: -len(each) - 1], each
    named = _ALIASES.get(named.lower(), named)
    found = {known.lower(): (name, own) for name, (known, own) in _NAMES.items()}.get(named.lower())
    if found is None:
        raise BadInput(f"sampler_name: {sampler!r} is not here. {suggestion(named, names())}")
    name, own = found
    wanted = (schedule or AUTOMATIC).strip()
    # This sampler is here at Karras' noise levels alone, which is what A1111 chooses for it by itself.
    if wanted.lower() not in {"automatic", own.lower(), *(() if own == "Karras" else ("uniform",))}:
        raise BadInput(f"scheduler: {schedule!r} is not here for sampler {sampler!r}; leave it out.")
    return name
