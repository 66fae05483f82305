"""``make bench_variants``: how much memory quantization saves, and how it changes an image and its generation time."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tqdm import tqdm

from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info
from foundation.offline import stay_offline
from zthumb import families
from zthumb.backends.base import BaseBackend, Precision
from zthumb.memory.quantize import Quantization

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUT = Path("outputs/bench/variants.json")
PROMPTS = (
    "a photo of a red star on a blue background",
    "a photo of a small green circle at the left on a white background",
    "a photo of a large yellow square on a purple background",
    "a photo of a black triangle at the top on an orange background",
)


@dataclass(frozen=True)
class Row:
    """One variant of the denoiser: its bytes in memory, the error of its images and the time they take.

    ``error`` is the mean absolute difference from the images of ``full`` in fp32, 0 … 255; ``time`` is relative to
    ``full, bf16``, the first variant. All are None if this machine cannot run the variant.
    """

    form: str
    bytes: int | None
    error: float | None
    time: float | None


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ``outputs/bench/variants.json`` and return exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.variants", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each image (default: 20)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; times are medians (default: 5)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="VARIANT",
        help='measure only these variants, such as "full, bf16" (the baseline) "gguf, Q8_0"',
    )
    arguments = parser.parse_args(argv)
    stay_offline()
    with tempfile.TemporaryDirectory() as name:
        rows = _measure(arguments.model, Path(name), arguments.steps, arguments.rounds, arguments.only)
    figures = {"rows": [asdict(row) for row in rows], "images": len(PROMPTS), "steps": arguments.steps}
    write_json(OUT, {**figures, "platform": platform_info(), "packages": package_versions()})
    print(OUT)
    return DONE


def _measure(model: Path, folder: Path, steps: int, rounds: int, only: Sequence[str]) -> list[Row]:
    """Load all variants at once and let them generate in turns, so that other load on the machine affects each equally."""
    import numpy as np

    reference = _generate(_load_backend(_Variant("full, fp32", "full", "fp32"), model, folder), steps)
    variants = [variant for variant in _variants() if not only or variant.name in only]
    backends = {variant: _load_backend(variant, model, folder) for variant in variants}
    available = {variant: backend for variant, backend in backends.items() if backend is not None}
    errors = {variant: float(np.abs(_generate(backend, steps) - reference).mean()) for variant, backend in available.items()}
    times: dict[_Variant, list[float]] = {variant: [] for variant in available}
    for _ in tqdm(range(rounds), desc="bench", unit="round"):
        for variant, backend in available.items():
            started = time.perf_counter()
            _generate(backend, steps)
            times[variant].append(time.perf_counter() - started)
    baseline = times[variants[0]]
    return [
        Row(variant.name, None, None, None)
        if backend is None
        else Row(
            variant.name,
            backend.info.denoiser_bytes,
            round(errors[variant], 3),
            round(_median_ratio(times[variant], baseline), 2),
        )
        for variant, backend in backends.items()
    ]


def _median_ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    return statistics.median(seconds / baseline_seconds for seconds, baseline_seconds in zip(times, baseline, strict=True))


@dataclass(frozen=True)
class _Variant:
    name: str
    backend: str
    precision: Precision = "bf16"
    quantization: Quantization = "none"
    kind: str = ""


def _variants() -> Iterator[_Variant]:
    from zthumb.checkpoints.gguf import types

    for name in get_args(Quantization):
        yield _Variant("full, bf16" if name == "none" else f"full, {name}", "full", quantization=name)
    for kind in types.WRITTEN:
        yield _Variant(f"gguf, {types.WRITTEN[kind]}", "gguf", kind=kind)


def _load_backend(variant: _Variant, model: Path, folder: Path) -> BaseBackend | None:
    """Return the backend of a variant, or None if this machine cannot run it."""
    from zthumb import backends, families
    from zthumb.backends.base import Options
    from zthumb.backends.gguf import write_denoiser
    from zthumb.sources.local import family_of

    backend, gguf_file = backends.get(variant.backend), None
    if variant.kind:
        gguf_file = folder / f"{variant.kind}.gguf"
        write_denoiser(model, families.get(family_of(model)), variant.kind, gguf_file)
    location = backend.find(model, gguf_file)
    if location is None:
        raise BadInput(f"{model}: no base model in this folder.")
    try:
        return backend(location, Options(precision=variant.precision, quantization=variant.quantization))
    except BadInput:
        return None


def _generate(backend: BaseBackend | None, steps: int) -> NDArray[Any]:
    """Generate the images of all prompts, float32 in 0 … 255."""
    import numpy as np

    from zthumb.generation.parameters import GenerationParams

    assert backend is not None
    size, guidance = backend.info.resolution, backend.limits(families.get(backend.info.family)).default_guidance_scale
    batch = [GenerationParams(prompt, None, size, size, seed, steps, guidance) for seed, prompt in enumerate(PROMPTS)]
    images = [backend.generate([params], lambda _, __: None, {})[0] for params in batch]
    return np.stack([np.asarray(image, dtype=np.float32) for image in images])


if __name__ == "__main__":
    sys.exit(main())
