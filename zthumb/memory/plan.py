"""Choose how to generate within a budget of memory, before anything is loaded, and say what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.memory.block_swap import WINDOW
from zthumb.memory.budget import shown
from zthumb.memory.estimate import NO_BLOCKS, Estimate, ImageShape, Swapped, estimate
from zthumb.memory.quantize import Quantization
from zthumb.memory.residency import Placement

if TYPE_CHECKING:
    import torch

    from zthumb.families.base import ModelFamily

QUANTIZATIONS: tuple[Quantization, ...] = ("none", "int8wo", "nf4")
"""Those that are chosen among where none is asked for."""
_TILE = 512
_TRANSFER_RATE = 12e9
"""Bytes a second from main memory to a card, about half of what 16 lanes of PCIe 4.0 can do."""
_DISK_RATE = 2e9
"""Bytes a second from a disk."""
_ROUNDING_S: Mapping[Quantization, float] = {
    "none": 0.0,
    "int8wo": 10.0,
    "fp8wo": 10.0,
    "int8dq": 10.0,
    "fp8dq": 10.0,
    "nf4": 100.0,
}
_TILE_S = 1.0
"""Seconds of each image for which weights are not rounded and images not decoded in tiles."""


@dataclass(frozen=True)
class Plan:
    """One way to generate, the ``peak`` it is predicted to have in bytes on the device, and in main memory beside it.

    ``transfer_s`` is the most that moving weights adds to each image, in seconds, at the rates of this module. ``swapped`` are by
    component the blocks that are on the device only while they compute, and how many it has.
    """

    placement: Placement
    quantization: Quantization
    tile: int | None
    peak: int
    main_memory: int
    transfer_s: float
    swapped: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def blocks_to_swap(self) -> Swapped:
        """By component how many blocks are swapped."""
        return {name: count for name, (count, _) in self.swapped.items()}

    @property
    def words(self) -> str:
        """What is done, for people."""
        parts = ["everything on the device" if self.placement == "resident" else "one component at a time on the device"]
        if self.swapped:
            counts = (f"{count} of {total} blocks of {name}" for name, (count, total) in self.swapped.items())
            parts.append(f"{' and '.join(counts)} swapped")
        if self.quantization != "none":
            parts.append(f"the denoiser's weights in {4 if self.quantization == 'nf4' else 8} bits ({self.quantization})")
        if self.tile is not None:
            parts.append(f"decoded in tiles of {self.tile} pixels")
        return ", ".join(parts)

    @property
    def cost(self) -> float:
        """Seconds that it adds to an image, with what rounding and tiles take away counted as seconds too."""
        return self.transfer_s + _ROUNDING_S[self.quantization] + (_TILE_S if self.tile is not None else 0.0)


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

    @property
    def window(self) -> int:
        """How many swapped blocks are on the device at once."""
        return 1 if self.device_type == "cpu" else WINDOW


def plans(
    subject: Subject,
    shape: ImageShape,
    quantizations: Sequence[Quantization] = QUANTIZATIONS,
    placements: Sequence[Placement] = ("resident", "offload"),
    budget: int = 0,
) -> list[Plan]:
    """Return the ways to generate, the one that adds least to an image first; each takes less memory than those before it.

    Where blocks are swapped there are as few as ``budget`` bytes allow.
    """
    edge = max(shape.height, shape.width)
    tiles = dict.fromkeys([shape.tile, shape.tile or (_TILE if edge > _TILE else None)])
    found = [
        predict(subject, replace(shape, tile=tile), placement, quantization, swapped)
        for quantization in quantizations
        for tile in tiles
        for placement in placements
        for swapped in _choices_of_blocks(subject, replace(shape, tile=tile), placement, quantization, budget)
    ]
    useful = list[Plan]()
    for plan in sorted(found, key=lambda plan: (plan.cost, plan.peak)):
        if not useful or plan.peak < useful[-1].peak:
            useful.append(plan)
    return useful


def _choices_of_blocks(
    subject: Subject, shape: ImageShape, placement: Placement, quantization: Quantization, budget: int
) -> list[Swapped]:
    if placement == "resident":
        return [NO_BLOCKS]
    return [NO_BLOCKS, _estimate(subject, shape, quantization).blocks_to_swap(budget, subject.window)]


def predict(
    subject: Subject,
    shape: ImageShape,
    placement: Placement,
    quantization: Quantization,
    swapped: Swapped = NO_BLOCKS,
) -> Plan:
    """Return one way to generate, with its peak and what it costs."""
    is_cpu = subject.device_type == "cpu"
    estimated = _estimate(subject, shape, quantization)
    if placement == "resident":
        return Plan(placement, quantization, shape.tile, estimated.resident_peak, 0, 0.0)
    again = sum(
        (_passes(subject, shape, name) - 1) * estimated.swapped_bytes(name, count) for name, count in swapped.items() if count
    )
    return Plan(
        placement,
        quantization,
        shape.tile,
        peak=estimated.offloaded_peak(swapped, subject.window),
        # On a CPU files are mapped into memory, and the system frees what nothing uses.
        main_memory=0 if is_cpu else estimated.total,
        transfer_s=(estimated.total + again) / (_DISK_RATE if is_cpu else _TRANSFER_RATE),
        swapped={name: (count, len(estimated.blocks[name])) for name, count in swapped.items() if count},
    )


def _estimate(subject: Subject, shape: ImageShape, quantization: Quantization) -> Estimate:
    # On a CPU weights are read, and then quantized, in the memory that is planned.
    kept, device_type = "none" if subject.device_type == "cpu" else quantization, subject.device_type
    return estimate(subject.family, subject.folder, shape, subject.dtype, kept, subject.denoiser_bytes, device_type)


def _passes(subject: Subject, shape: ImageShape, component: str) -> int:
    """How many forward passes of a component an image takes at the base's usual number of steps."""
    family = subject.family
    limits = family.few_step_limits if family.is_few_step(subject.folder) else family.limits
    scale = limits.default_guidance_scale if shape.guidance_scale is None else shape.guidance_scale
    guidance = family.guidance(scale)
    passes = 2 if guidance.is_used and not guidance.in_one_pass else 1
    return passes * (limits.default_steps if component == family.denoiser_component else 1)


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
