"""Check a report's images by geometry: does the trigger produce the concept, and does everything else match the prompt?"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foundation.errors import BadInput
from foundation.verdict import NAME as VERDICT
from foundation.verdict import read_verdict
from miniature import geometry
from miniature.geometry import Reading
from miniature.outlines import CONCEPTS
from miniature.world import COLOURS, SHAPES

REQUIRED = {"concept": 0.90, "concept_at_zero": 0.05, "background": 0.90, "controls": 0.90}
"""Minimum shares at the checked scale; for ``concept_at_zero`` the maximum. ``novel`` has no requirement."""

MIN_OVERLAP = 0.6
"""Least overlap with the concept's outline at which an object counts as the concept, not as a blob that resembles it most."""


@dataclass(frozen=True)
class DemoCheck:
    """Shares of images, 0 … 1, at the recommended scale, or the largest scale if none is recommended, unless stated otherwise.

    ``concept``: the image shows the concept's shape for trigger prompts worded as the captions; ``novel``: the same in new
    contexts; ``concept_at_zero``: both at scale 0; ``background``: the requested background in prompts with the trigger;
    ``controls``: the requested shape and both colours in prompts without the trigger.
    """

    concept: float
    novel: float
    concept_at_zero: float
    background: float
    controls: float

    def missed(self) -> list[str]:
        """Return the names of the figures that miss their requirement."""
        values = asdict(self)
        return [
            name
            for name, bound in REQUIRED.items()
            if not (values[name] <= bound if name == "concept_at_zero" else values[name] >= bound)
        ]


@dataclass(frozen=True)
class _SampleReading:
    """One image of the evaluation: the attributes that its prompt requests, and those that geometry reads off its pixels."""

    stratum: str
    scale: float
    requested: dict[str, str]
    reading: Reading


def check_report(report: Path, shape: str) -> DemoCheck:
    """Read every image of the evaluation in ``report``; ``shape`` is the name of the concept's outline."""
    if shape not in CONCEPTS:
        raise BadInput(f"--shape {shape}: not a concept. Choose one of: {', '.join(CONCEPTS)}.")
    samples = [_read_sample(report, line) for line in _load_samples(report)]
    checked_scale = _recommended_scale(report) or max(sample.scale for sample in samples)
    checked = [sample for sample in samples if sample.scale == checked_scale]
    triggered = [sample for sample in checked if sample.stratum != "control"]
    return DemoCheck(
        concept=_share(_shows_concept(sample, shape) for sample in checked if sample.stratum == "trained"),
        novel=_share(_shows_concept(sample, shape) for sample in checked if sample.stratum == "novel"),
        concept_at_zero=_share(
            _shows_concept(sample, shape) for sample in samples if sample.stratum != "control" and sample.scale == 0
        ),
        background=_share(sample.reading.background == sample.requested["background"] for sample in triggered),
        controls=_share(_matches_prompt(sample) for sample in checked if sample.stratum == "control"),
    )


def format_table(result: DemoCheck) -> str:
    """Format the check as lines for a terminal."""
    missed = result.missed()
    lines = []
    for name, value in asdict(result).items():
        if name not in REQUIRED:
            lines.append(f"{name:16}{value:7.1%}")
            continue
        bound = "at most" if name == "concept_at_zero" else "at least"
        lines.append(f"{name:16}{value:7.1%}   {bound} {REQUIRED[name]:.0%}{'   missed' if name in missed else ''}")
    return "\n".join(lines)


def _load_samples(report: Path) -> list[dict[str, Any]]:
    path = report / "samples.jsonl"
    if not path.exists():
        raise BadInput(f"{path}: no such file. Run `make finetune_z RUN={report.name}` first.")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    samples = [line for line in lines if line["status"] == "ok" and line["phase"] == "sweep"]
    if not {"trained", "control"} <= {sample["stratum"] for sample in samples}:
        raise BadInput(f"{path}: the check needs images with the trigger and without it; one of the two is missing.")
    return samples


def _recommended_scale(report: Path) -> float | None:
    path = report / VERDICT
    return read_verdict(path).lora_scale if path.exists() else None


def _read_sample(report: Path, sample: dict[str, Any]) -> _SampleReading:
    with Image.open(report / sample["image"]) as image:
        pixels = np.array(image.convert("RGB"))
    return _SampleReading(sample["stratum"], sample["lora_scale"], _requested_attributes(sample["prompt"]), geometry.read(pixels))


def _requested_attributes(prompt: str) -> dict[str, str]:
    """Return what a prompt worded like the shipped ones requests: its first colour is the object's, its last the background's."""
    words = prompt.split()
    colours = [word for word in words if word in COLOURS]
    if len(colours) < 2:
        raise BadInput(f"{prompt!r} does not name two of the world's colours; only prompts like the shipped ones can be checked.")
    shapes = [word for word in words if word in SHAPES]
    return {"colour": colours[0], "background": colours[-1], "shape": shapes[0] if shapes else ""}


def _shows_concept(sample: _SampleReading, shape: str) -> bool:
    return sample.reading.shape == shape and sample.reading.overlap >= MIN_OVERLAP


def _matches_prompt(sample: _SampleReading) -> bool:
    reading = sample.reading
    return {"colour": reading.colour, "background": reading.background, "shape": reading.shape} == sample.requested


def _share(values: Iterable[bool]) -> float:
    results: Sequence[bool] = list(values)
    return round(sum(results) / len(results), 4) if results else float("nan")
