"""``make bench_variants``: what fewer bits spare in memory, and what they change in an image and in its time."""

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
from foundation.manifest import package_versions, platform_facts
from foundation.offline import stay_offline
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
    """One form of the denoiser: its bytes in memory, the error of its images and the time they take.

    ``error`` is the mean absolute difference from full's images in fp32, of 255; ``time`` is relative to full in the same
    precision. Both are None where this machine cannot run the form.
    """

    form: str
    bytes: int | None
    error: float | None
    time: float | None


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/variants.json``; exit code 0 done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.variants", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/mini-sdxl"), help="the base (default: models/mini-sdxl)")
    parser.add_argument("--steps", type=int, default=20, help="of each image (default: 20)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is generated; the median counts (default: 5)")
    parser.add_argument("--only", nargs="+", default=[], metavar="FORM", help='these alone, as "full, bf16" (first) "gguf, Q8_0"')
    arguments = parser.parse_args(argv)
    stay_offline()
    with tempfile.TemporaryDirectory() as name:
        rows = _measured(arguments.model, Path(name), arguments.steps, arguments.rounds, arguments.only)
    found = {"rows": [asdict(row) for row in rows], "images": len(PROMPTS), "steps": arguments.steps}
    write_json(OUT, {**found, "platform": platform_facts(), "packages": package_versions()})
    print(OUT)
    return DONE


def _measured(model: Path, folder: Path, steps: int, rounds: int, only: Sequence[str]) -> list[Row]:
    """All forms are loaded at once and generate in turns, so that what else the machine does falls on each alike."""
    import numpy as np

    reference = _pixels(_loaded(_Form("full, fp32", "full", "fp32"), model, folder), steps)
    forms = [form for form in _forms() if not only or form.name in only]
    loaded = {form: _loaded(form, model, folder) for form in forms}
    there = {form: backend for form, backend in loaded.items() if backend is not None}
    errors = {form: float(np.abs(_pixels(backend, steps) - reference).mean()) for form, backend in there.items()}
    times: dict[_Form, list[float]] = {form: [] for form in there}
    for _ in tqdm(range(rounds), desc="bench", unit="round"):
        for form, backend in there.items():
            started = time.perf_counter()
            _pixels(backend, steps)
            times[form].append(time.perf_counter() - started)
    usual = times[forms[0]]
    return [
        Row(form.name, None, None, None)
        if backend is None
        else Row(form.name, backend.info.denoiser_bytes, round(errors[form], 3), round(_ratio(times[form], usual), 2))
        for form, backend in loaded.items()
    ]


def _ratio(ours: Sequence[float], usual: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, usual, strict=True))


@dataclass(frozen=True)
class _Form:
    name: str
    backend: str
    precision: Precision = "bf16"
    quantization: Quantization = "none"
    kind: str = ""


def _forms() -> Iterator[_Form]:
    from zthumb.gguf import types

    for name in get_args(Quantization):
        yield _Form("full, bf16" if name == "none" else f"full, {name}", "full", quantization=name)
    for kind in types.WRITTEN:
        yield _Form(f"gguf, {types.WRITTEN[kind]}", "gguf", kind=kind)


def _loaded(form: _Form, model: Path, folder: Path) -> BaseBackend | None:
    """The backend of a form; None where this machine cannot run it."""
    from zthumb import backends, families
    from zthumb.backends.base import Options
    from zthumb.gguf.write import write
    from zthumb.sources.local import family_of

    backend, own = backends.get(form.backend), None
    if form.kind:
        own = folder / f"{form.kind}.gguf"
        write(model, families.get(family_of(model)), form.kind, own)
    place = backend.find(model, own)
    if place is None:
        raise BadInput(f"{model}: no base model is there.")
    try:
        return backend(place, Options(precision=form.precision, quantization=form.quantization))
    except BadInput:
        return None


def _pixels(backend: BaseBackend | None, steps: int) -> NDArray[Any]:
    """The images of all prompts, float32 of 0 … 255."""
    import numpy as np

    from zthumb.generation.image_generator import GenerationParams

    assert backend is not None
    size, guidance = backend.info.resolution, backend.limits.default_guidance_scale
    batch = [GenerationParams(prompt, None, size, size, seed, steps, guidance) for seed, prompt in enumerate(PROMPTS)]
    made = [backend.generate([params], lambda _, __: None, {})[0] for params in batch]
    return np.stack([np.asarray(each, dtype=np.float32) for each in made])


if __name__ == "__main__":
    sys.exit(main())
