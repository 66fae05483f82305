"""A model distilled to generate in few steps, as SDXL-Turbo (arXiv 2311.17042) does in one to four."""

from collections.abc import Sequence
from pathlib import Path

from zthumb.backends import full
from zthumb.backends.base import WeightsLocation
from zthumb.families.base import Limits, ModelFamily


class Backend(full.Backend):
    """The same pipeline, begun at pure noise: with so few steps the first must not lie anywhere else (arXiv 2305.08891)."""

    name = "turbo"
    preference = 2
    spacing = "trailing"

    @classmethod
    def limits(cls, family: ModelFamily) -> Limits:
        return family.few_step_limits

    @classmethod
    def possible_limits(cls, family: ModelFamily) -> Sequence[Limits]:
        return [family.few_step_limits, family.few_step_adapter_limits or family.few_step_limits]

    @classmethod
    def find(cls, model: Path, configured: Path | None) -> WeightsLocation | None:
        # Some bases say themselves that they need few steps; of others it is known by their place.
        itself = model if configured is None and full.is_base(model) and full.is_few_step(model) else None
        folder = configured or itself or model.with_name(f"{model.name}-turbo")
        return WeightsLocation(folder, folder) if full.is_base(folder) else None
