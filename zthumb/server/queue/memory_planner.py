"""Keeps the backends of a server within its memory budget: how each is loaded, which requests it takes, in which batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.memory.budget import parse, shown
from zthumb.memory.estimate import ImageShape
from zthumb.memory.plan import QUANTIZATIONS, Plan, Subject, choose, plans, predict

if TYPE_CHECKING:
    import torch

    from zthumb.backends.base import Options
    from zthumb.generation.parameters import GenerationParams
    from zthumb.memory.residency import Placement
    from zthumb.server.settings import Settings


@dataclass(frozen=True)
class PlannedBackend:
    """The base of a backend, the placements that are possible with what else was chosen, and its usual image's width, height."""

    base: Subject
    placements: tuple[Placement, ...]
    size: tuple[int, int]


class MemoryPlanner:
    """Plans within ``budget`` bytes, each backend once."""

    def __init__(self, options: Options, budget: int) -> None:
        self._options, self._budget = options, budget
        self._plans: dict[PlannedBackend, Plan] = {}

    @classmethod
    def of(cls, settings: Settings, device: torch.device) -> MemoryPlanner | None:
        """Return the planner of a server whose models are on ``device``; None without a budget."""
        if settings.memory_budget is None:
            return None
        return cls(settings.options, parse(settings.memory_budget, device, settings.gpu_memory_utilization))

    def plan(self, backend: PlannedBackend) -> Plan:
        """Return how a backend is loaded; ``BadInput`` if it cannot generate one image of its usual size."""
        if backend not in self._plans:
            width, height = backend.size
            chosen = self._options.quantization
            can_quantize = chosen == "none" and backend.base.denoiser_bytes is None
            candidates = plans(
                backend.base,
                ImageShape(height, width, tile=self._options.tile),
                QUANTIZATIONS if can_quantize else (chosen,),
                backend.placements,
                self._budget,
            )
            self._plans[backend] = choose(candidates, self._budget)
        return self._plans[backend]

    def options(self, backend: PlannedBackend) -> Options:
        """Return the options that a backend is loaded with."""
        plan = self.plan(backend)
        return replace(
            self._options,
            placement=plan.placement,
            quantization=plan.quantization,
            tile=plan.tile,
            blocks_to_swap=plan.blocks_to_swap,
        )

    def choose(self, variants: Mapping[str, PlannedBackend]) -> tuple[str, str]:
        """Return the first of ``variants`` that generates within the budget, and how; ``BadInput`` says why none does."""
        reasons = []
        for name, backend in variants.items():
            try:
                plan = self.plan(backend)
            except BadInput as error:
                reasons.append(f"{name}: {error}")
            else:
                return name, f"{name}: {plan.words}, {shown(plan.peak)} of {shown(self._budget)}"
        raise BadInput(" ".join(reasons))

    def largest_batch(self, backend: PlannedBackend, params: GenerationParams, most: int) -> int:
        """Return how many images as ``params``, at most ``most``, are generated at once; ``BadInput`` if not even one is."""
        plan, count = self.plan(backend), most
        while True:
            shape = ImageShape(params.height, params.width, count, params.guidance_scale, plan.tile)
            peak = predict(backend.base, shape, plan.placement, plan.quantization, plan.blocks_to_swap).peak
            if peak <= self._budget:
                return count
            if count == 1:
                break
            count //= 2
        raise BadInput(
            f"memory: an image of {params.width} x {params.height} takes {shown(peak)}, more than the budget of "
            f"{shown(self._budget)}. Ask for a smaller one, or raise MEMORY_BUDGET."
        )

    def fits_beside(self, peak: int, others: Iterable[PlannedBackend]) -> bool:
        """Return whether a backend can take ``peak`` bytes while ``others`` stay loaded."""
        return peak + sum(self.plan(other).peak for other in others) <= self._budget
