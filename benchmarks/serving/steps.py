"""``make bench_steps``: what is saved, and lost, by steps without guidance, by extrapolated predictions, and by fewer steps."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from benchmarks.serving.miniatures import PROMPTS, generate, measure_models
from foundation.errors import command
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS, _PROMPTS = 25, PROMPTS[:4]
_WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("all steps", {}),
    ("step_cache 2", {"step_cache": 2}),
    ("step_cache 3", {"step_cache": 3}),
    ("interval:0.2-0.9", {"guidance_schedule": "interval:0.2-0.9"}),
    ("interval:0.2-0.9, step_cache 2", {"guidance_schedule": "interval:0.2-0.9", "step_cache": 2}),
    ("16 steps", {"steps": 16}),
    ("12 steps", {"steps": 12}),
)


@dataclass(frozen=True)
class Row:
    """One way to sample: the mean absolute difference of its images from those of all steps, 0 … 255, and relative time."""

    way: str
    error: float
    time: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ``outputs/bench/steps.json`` and return exit code 0."""
    return measure_models(
        "steps", __doc__, argv, lambda model, rounds: [asdict(row) for row in _measure(model, rounds)], len(_PROMPTS), STEPS
    )


def _measure(model: Path, rounds: int) -> list[Row]:
    """Let the ways take turns, so that other load on the machine affects each equally."""
    import numpy as np

    backend = Backend(WeightsLocation(model, model), Options(device="cpu"))
    times: dict[str, list[float]] = {way: [] for way, _ in _WAYS}
    images: dict[str, NDArray[Any]] = {}
    for _ in tqdm(range(rounds), desc=model.name, unit="round"):
        for way, settings in _WAYS:
            started = time.perf_counter()
            images[way] = generate(backend, STEPS, _PROMPTS, settings)
            times[way].append(time.perf_counter() - started)
    first, _ = _WAYS[0]
    return [
        Row(
            way,
            round(float(np.abs(images[way] - images[first]).mean()), 3),
            round(statistics.median(own / whole for own, whole in zip(times[way], times[first], strict=True)), 2),
        )
        for way, _ in _WAYS
    ]


if __name__ == "__main__":
    sys.exit(main())
