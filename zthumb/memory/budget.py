"""A budget of memory as people write it: 12GB, 6.5GiB, 800MB, auto."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from foundation.device import free_bytes
from foundation.errors import BadInput

if TYPE_CHECKING:
    import torch

AUTO = "auto"
_USABLE = 0.9
"""The share of the free memory that ``auto`` takes; the rest is for what torch and other programs need meanwhile."""
_FACTORS = {"g": 2**30, "m": 2**20}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([gm])(?:i?b)?\s*", re.IGNORECASE)


def shown(size: float) -> str:
    """Return bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def check(text: str) -> str:
    """Return ``text`` if it is a budget; ``ValueError`` says how to write one."""
    if text != AUTO and not _PATTERN.fullmatch(text):
        raise ValueError(_advice(text))
    return text


def _advice(text: str) -> str:
    return f"{text!r} is not an amount of memory: write 12GB, 800MB, or auto for what is free"


def parse(text: str, device: torch.device, share: float | None = None) -> int:
    """Return the bytes of a budget. A gigabyte is 2^30 bytes, as cards are sold; ``auto`` is most of what is free now,
    with a ``share`` of ``limit_memory`` most of what this process may still allocate.

    Raises ``BadInput`` for what is none.
    """
    if text == AUTO:
        return int(_USABLE * free_bytes(device, share))
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise BadInput(f"budget: {_advice(text)}.")
    return int(float(match[1]) * _FACTORS[match[2].lower()])
