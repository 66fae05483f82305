"""Choose how to generate within a budget of memory, before anything is loaded, and say what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.memory.budget import shown
from zthumb.memory.estimate import ImageShape, estimate
from zthumb.memory.quantize import Quantization
from zthumb.memory.residency import Placement

if TYPE_CHECKING:
    import torch

    from zthumb.families.base import ModelFamily

_TILE = 512
_TRANSFER_RATE = 12e9
"""Bytes a second from main memory to a card, about half of what 16 lanes of PCIe 4.0 can do."""
_DISK_RATE = 2e9
"""Bytes a second from a disk."""
_ROUNDING_S, _TILE_S = 10.0, 1.0
"""Seconds of each image for which weights are not rounded and images not decoded in tiles."""


@dataclass(frozen=True)
class Plan:
    """One way to generate, the ``peak`` it is predicted to have in bytes on the device, and in main memory beside it.

    ``transfer_s`` is what moving weights adds to each image, in seconds, at the rates of this module.
    """

    placement: Placement
    quantization: Quantization
    tile: int | None
    peak: int
    main_memory: int
    transfer_s: float

    @property
    def words(self) -> str:
        """What is done, for people."""
        parts = ["everything on the device" if self.placement == "resident" else "one component at a time on the device"]
        if self.quantization != "none":
            parts.append(f"linear weights of the denoiser in 8 bits ({self.quantization})")
        if self.tile is not None:
            parts.append(f"decoded in tiles of {self.tile} pixels")
        return ", ".join(parts)

    @property
    def cost(self) -> float:
        """Seconds that it adds to an image, with what rounding and tiles take away counted as seconds too."""
        lost = (_ROUNDING_S if self.quantization != "none" else 0.0) + (_TILE_S if self.tile is not None else 0.0)
        return self.transfer_s + lost


@dataclass(frozen=True)
class Subject:
    """What is to generate: the base whose configuration is in ``folder``, in ``dtype``, on a device of a type of torch's.

    ``denoiser_bytes`` are those of a denoiser from a GGUF file.
    """

    family: ModelFamily
    folder: Path
    dtype: torch.dtype
    device_type: str
    denoiser_bytes: int | None = None


def plans(
    subject: Subject,
    shape: ImageShape,
    quantizations: Sequence[Quantization] = ("none", "int8wo"),
    placements: Sequence[Placement] = ("resident", "offload"),
) -> list[Plan]:
    """Return the ways to generate, the one that adds least to an image first; each takes less memory than those before it."""
    edge = max(shape.height, shape.width)
    tiles = dict.fromkeys([shape.tile, shape.tile or (_TILE if edge > _TILE else None)])
    found = [
        predict(subject, replace(shape, tile=tile), placement, quantization)
        for quantization in quantizations
        for tile in tiles
        for placement in placements
    ]
    useful = list[Plan]()
    for plan in sorted(found, key=lambda plan: (plan.cost, plan.peak)):
        if not useful or plan.peak < useful[-1].peak:
            useful.append(plan)
    return useful


def predict(subject: Subject, shape: ImageShape, placement: Placement, quantization: Quantization) -> Plan:
    """Return one way to generate, with its peak and what it costs."""
    is_cpu = subject.device_type == "cpu"
    # On a CPU weights are read, and then quantized, in the memory that is planned.
    as_read = "none" if is_cpu else quantization
    estimated = estimate(subject.family, subject.folder, shape, subject.dtype, as_read, subject.denoiser_bytes)
    if placement == "resident":
        return Plan(placement, quantization, shape.tile, estimated.resident_peak, 0, 0.0)
    if is_cpu:
        # Released and read again for each image.
        return Plan(placement, quantization, shape.tile, estimated.read_again_peak, 0, estimated.total / _DISK_RATE)
    transfer_s = estimated.total / _TRANSFER_RATE
    return Plan(placement, quantization, shape.tile, estimated.offloaded_peak, estimated.total, transfer_s)


def choose(candidates: Sequence[Plan], budget: int) -> Plan:
    """Return the first of ``candidates`` whose peak is within ``budget`` bytes; if none is, ``BadInput`` names the smallest."""
    fitting = next((plan for plan in candidates if plan.peak <= budget), None)
    if fitting is None:
        smallest = min(candidates, key=lambda plan: plan.peak)
        raise BadInput(
            f"memory: nothing fits into {shown(budget)}. The least that is possible is {shown(smallest.peak)}: {smallest.words}. "
            "Ask for a smaller image, or take a smaller base or one in GGUF."
        )
    return fitting
