"""``make bench_settings``: what channels-last weights, compiled blocks and decoding in tiles do to time, memory and images."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from benchmarks.serving.miniatures import PROMPTS, generate, measure_models
from foundation.errors import command
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.memory.peak_memory import AllocatorPeak

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS, _PROMPTS = 10, PROMPTS[:4]
_SETTINGS: tuple[tuple[str, Options], ...] = (
    ("as it is", Options(device="cpu")),
    ("`ZTHUMB_CHANNELS_LAST`", Options(device="cpu", channels_last=True)),
    ("`ZTHUMB_COMPILE`", Options(device="cpu", compile=True)),
    ("`ZTHUMB_TILE=64`", Options(device="cpu", tile=64)),
)


@dataclass(frozen=True)
class Row:
    """One setting: relative time, working memory of an image in bytes, the mean difference of images, and seconds to begin with.

    The difference is from images without it, 0 … 255.
    """

    setting: str
    time: float
    memory: int
    error: float
    first_s: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ``outputs/bench/settings.json`` and return exit code 0."""
    return measure_models(
        "settings", __doc__, argv, lambda model, rounds: [asdict(row) for row in _measure(model, rounds)], len(_PROMPTS), STEPS
    )


def _measure(model: Path, rounds: int) -> list[Row]:
    """Let the settings take turns, so that other load on the machine affects each equally."""
    import numpy as np

    backends = {name: Backend(WeightsLocation(model, model), options) for name, options in _SETTINGS}
    first = {name: _seconds(backend) for name, backend in backends.items()}
    memory = {name: _memory(backend) for name, backend in backends.items()}
    times: dict[str, list[float]] = {name: [] for name in backends}
    images: dict[str, NDArray[Any]] = {}
    for _ in tqdm(range(rounds), desc=model.name, unit="round"):
        for name, backend in backends.items():
            started = time.perf_counter()
            images[name] = generate(backend, STEPS, _PROMPTS)
            times[name].append(time.perf_counter() - started)
    plain, _ = _SETTINGS[0]
    return [
        Row(
            name,
            round(statistics.median(own / whole for own, whole in zip(times[name], times[plain], strict=True)), 2),
            memory[name],
            round(float(np.abs(images[name] - images[plain]).mean()), 4),
            round(first[name], 1),
        )
        for name in backends
    ]


def _seconds(backend: Backend) -> float:
    """Seconds of the first image, which compiles."""
    started = time.perf_counter()
    generate(backend, STEPS, _PROMPTS[:1])
    return time.perf_counter() - started


def _memory(backend: Backend) -> int:
    """The most bytes that are allocated at once beside the weights."""
    with AllocatorPeak(torch.device("cpu")) as memory:
        generate(backend, 2, _PROMPTS[:1])
    return memory.peak


if __name__ == "__main__":
    sys.exit(main())
