"""``make bench_variants``: what fewer bits cost: memory, the error of predictions and images, an adapter's effect, time."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tqdm import tqdm

from benchmarks.serving.miniatures import MODELS, PROMPTS, generate
from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info
from foundation.offline import stay_offline
from zthumb import families
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.backends.base import Options, Precision, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.memory.predictions import Predictions, norm
from zthumb.memory.quantize import Quantization

if TYPE_CHECKING:
    from torch import Tensor

OUT = Path("outputs/bench/variants.json")
_PREDICTIONS = 16
"""How many of the base's predictions are made again."""
_RANK, _MOVEMENT = 4, 0.1
"""Of the random adapter whose effect is measured: how far it moves predictions, relative to their norm."""


@dataclass(frozen=True)
class Row:
    """One form of the denoiser, compared with the same in fp32; all but its name are None if this machine cannot run it.

    ``bytes`` in memory; ``prediction_error`` relative to the predictions' norm; ``error``: the mean absolute difference of
    images, 0 … 255; ``effect``: how far an adapter moves predictions, relative to fp32, and ``angle`` in degrees between both
    movements; ``time`` of an image, relative to bf16.
    """

    form: str
    bytes: int | None = None
    prediction_error: float | None = None
    error: float | None = None
    effect: float | None = None
    angle: float | None = None
    time: float | None = None


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ``outputs/bench/variants.json`` and return exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.variants", description=__doc__)
    parser.add_argument("--models", nargs="+", type=Path, default=MODELS, help="the bases (default: every miniature)")
    parser.add_argument("--steps", type=int, default=15, help="steps of each image (default: 15)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds; times are medians (default: 3)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="FORM",
        help='measure only these forms, such as bf16 (which others are compared with) "int8dq, balanced" Q8_0',
    )
    arguments = parser.parse_args(argv)
    stay_offline()
    with tempfile.TemporaryDirectory() as name:
        models = [
            {"model": model.name, "rows": [asdict(row) for row in _measure(model, Path(name), arguments)]}
            for model in arguments.models
        ]
    figures = {"models": models, "images": len(PROMPTS), "steps": arguments.steps}
    write_json(OUT, {**figures, "platform": platform_info(), "packages": package_versions()})
    print(OUT)
    return DONE


def _measure(model: Path, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    """Load all forms at once and let them generate in turns, so that other load on the machine affects each equally."""
    reference = _Reference(model, arguments.steps)
    forms = [form for form in _forms() if not arguments.only or form.name in arguments.only]
    backends = {form: _load_backend(form, model, folder, arguments.steps) for form in forms}
    times: dict[_Form, list[float]] = {form: [] for form in forms}
    rows = {
        form: Row(form.name) if backend is None else reference.compare(form.name, backend) for form, backend in backends.items()
    }
    for _ in tqdm(range(arguments.rounds), desc=model.name, unit="round"):
        for form, backend in backends.items():
            if backend is not None:
                started = time.perf_counter()
                generate(backend, arguments.steps, PROMPTS[:2])
                times[form].append(time.perf_counter() - started)
    baseline = times[forms[0]]
    return [
        row if not times[form] else Row(**{**asdict(row), "time": round(_median_ratio(times[form], baseline), 2)})
        for form, row in rows.items()
    ]


def _median_ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    return statistics.median(seconds / baseline_seconds for seconds, baseline_seconds in zip(times, baseline, strict=True))


class _Reference:
    """The base in fp32: its images, some of its predictions, and how an adapter moves them."""

    def __init__(self, model: Path, steps: int) -> None:
        backend = Backend(WeightsLocation(model, model), Options(device="cpu", precision="fp32"))
        self._steps, self._predictions = steps, Predictions()
        self._family = families.get(backend.info.family)
        denoiser = self._family.denoiser(backend.pipeline)
        with self._predictions.record(denoiser, every=max(1, len(PROMPTS) * steps // _PREDICTIONS)):
            self._images = generate(backend, steps)
        self._adapter, self._weight = _random_adapter(denoiser, self._family), 0.01
        self._weight *= _MOVEMENT * norm(self._predictions.expected) / norm(self._movement(backend))
        self._moved = self._movement(backend)

    def compare(self, name: str, backend: Backend) -> Row:
        """Return the row of another form of the base."""
        import numpy as np

        prediction_error = self._predictions.error(self._family.denoiser(backend.pipeline))
        images, moved = generate(backend, self._steps), self._movement(backend)
        inner = sum(float((first.double() * second.double()).sum()) for first, second in zip(moved, self._moved, strict=True))
        cosine = inner / (norm(moved) * norm(self._moved))
        return Row(
            name,
            backend.info.denoiser_bytes,
            round(prediction_error, 5),
            round(float(np.abs(images - self._images).mean()), 3),
            round(norm(moved) / norm(self._moved), 4),
            round(math.degrees(math.acos(min(1.0, cosine))), 2),
        )

    def _movement(self, backend: Backend) -> list[Tensor]:
        """What the adapter adds to each prediction."""
        from zthumb.adapters import apply

        denoiser = self._family.denoiser(backend.pipeline)
        components = {self._family.denoiser_component: denoiser}
        before = self._predictions.again(denoiser)
        apply.inject(components, self._adapter, "bench")
        apply.set_weights(apply.adapted_modules(components), {"bench": self._weight})
        after = self._predictions.again(denoiser)
        apply.unload(components)
        return [second - first for first, second in zip(before, after, strict=True)]


def _random_adapter(denoiser: Any, family: Any) -> Adapter:
    """An adapter of all attention layers, the same each time."""
    import torch

    generator, layers = torch.Generator().manual_seed(0), {}
    for name in family.lora_modules(family.denoiser_component, denoiser, "attention"):
        module = denoiser.get_submodule(name)
        down = torch.randn(_RANK, module.in_features, generator=generator) / module.in_features**0.5
        up = torch.randn(module.out_features, _RANK, generator=generator)
        layers[f"{family.denoiser_component}.{name}"] = Layer(down, up)
    return Adapter(layers)


@dataclass(frozen=True)
class _Form:
    name: str
    precision: Precision = "bf16"
    quantization: Quantization = "none"
    is_balanced: bool = False
    kind: str = ""


def _forms() -> Iterator[_Form]:
    from zthumb.checkpoints.gguf import types

    for name in get_args(Quantization):
        yield _Form("bf16" if name == "none" else name, quantization=name)
    yield _Form("int8wo, balanced", quantization="int8wo", is_balanced=True)
    yield _Form("int8dq, balanced", quantization="int8dq", is_balanced=True)
    for kind in types.WRITTEN:
        yield _Form(types.WRITTEN[kind], kind=kind)


def _load_backend(form: _Form, model: Path, folder: Path, steps: int) -> Backend | None:
    """Return the backend of a form, or None if this machine cannot run it."""
    from zthumb.backends import gguf
    from zthumb.sources.local import family_of

    family, gguf_file, salience = families.get(family_of(model)), None, None
    if form.kind:
        gguf_file = folder / f"{model.name}.{form.kind}.gguf"
        gguf.write_denoiser(model, family, form.kind, gguf_file)
    if form.is_balanced and (salience := _calibrated(form, model, folder, steps)) is None:
        return None
    backend = gguf.Backend if form.kind else Backend
    location = backend.find(model, gguf_file)
    if location is None:
        raise BadInput(f"{model}: no base model in this folder.")
    options = Options(device="cpu", precision=form.precision, quantization=form.quantization, salience=salience)
    try:
        return backend(location, options)
    except BadInput:
        return None


def _calibrated(form: _Form, model: Path, folder: Path, steps: int) -> Path | None:
    """The file of what balances a form; None if nothing does."""
    from zthumb.cli.calibrate import PROMPTS as CALIBRATION_PROMPTS
    from zthumb.cli.calibration import calibrate
    from zthumb.memory import salience

    found = calibrate(model, form.quantization, CALIBRATION_PROMPTS["mini"], steps, "cpu")
    if not found.factors:
        return None
    file = folder / f"{model.name}.{form.quantization}.safetensors"
    salience.write(file, found.factors, found.base_sha256, form.quantization)
    return file


if __name__ == "__main__":
    sys.exit(main())
