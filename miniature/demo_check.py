"""A check of a report's images by geometry: is the concept there with the trigger, and is everything else as asked for?"""

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
"""At least these shares at the scale that is looked at; ``concept_at_zero`` at the most. ``novel`` has no bar."""

SHOWN = 0.6
"""Least overlap of an object with the concept's outline for it to be the concept and not a blob that is least unlike it."""


@dataclass(frozen=True)
class DemoCheck:
    """Shares of images, 0 … 1, at the recommended scale, or the strongest where none is, unless said otherwise.

    ``concept``: the concept's shape is seen where the trigger was in the prompt as in the captions; ``novel``: the same in new
    contexts; ``concept_at_zero``: both at scale 0; ``background``: the background asked for with the trigger; ``controls``: shape
    and both colours asked for without it.
    """

    concept: float
    novel: float
    concept_at_zero: float
    background: float
    controls: float

    def missed(self) -> list[str]:
        """The names of the figures that are not reached."""
        values = asdict(self)
        return [
            name
            for name, bar in REQUIRED.items()
            if not (values[name] <= bar if name == "concept_at_zero" else values[name] >= bar)
        ]


@dataclass(frozen=True)
class _Seen:
    stratum: str
    scale: float
    asked: dict[str, str]
    reading: Reading


def check(report: Path, shape: str) -> DemoCheck:
    """Read every image of the evaluation in ``report``; ``shape`` is the concept's in the world of outlines."""
    if shape not in CONCEPTS:
        raise BadInput(f"--shape {shape}: not a concept. There are: {', '.join(CONCEPTS)}.")
    seen = [_read(report, sample) for sample in _samples(report)]
    looked_at = _recommended(report) or max(each.scale for each in seen)
    here = [each for each in seen if each.scale == looked_at]
    triggered = [each for each in here if each.stratum != "control"]
    return DemoCheck(
        concept=_share(_shows(each, shape) for each in here if each.stratum == "trained"),
        novel=_share(_shows(each, shape) for each in here if each.stratum == "novel"),
        concept_at_zero=_share(_shows(each, shape) for each in seen if each.stratum != "control" and each.scale == 0),
        background=_share(each.reading.background == each.asked["background"] for each in triggered),
        controls=_share(_as_asked(each) for each in here if each.stratum == "control"),
    )


def table(reached: DemoCheck) -> str:
    """The check as lines for a terminal."""
    missed = reached.missed()
    lines = []
    for name, value in asdict(reached).items():
        if name not in REQUIRED:
            lines.append(f"{name:16}{value:7.1%}")
            continue
        bound = "at most" if name == "concept_at_zero" else "at least"
        lines.append(f"{name:16}{value:7.1%}   {bound} {REQUIRED[name]:.0%}{'   missed' if name in missed else ''}")
    return "\n".join(lines)


def _samples(report: Path) -> list[dict[str, Any]]:
    path = report / "samples.jsonl"
    if not path.exists():
        raise BadInput(f"{path}: not there. Run `make finetune_z RUN={report.name}` first.")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    answered = [sample for sample in samples if sample["status"] == "ok" and sample["phase"] == "sweep"]
    if not {"trained", "control"} <= {sample["stratum"] for sample in answered}:
        raise BadInput(f"{path}: images with the trigger and without it are needed; one of the two is missing.")
    return answered


def _recommended(report: Path) -> float | None:
    path = report / VERDICT
    return read_verdict(path).lora_scale if path.exists() else None


def _read(report: Path, sample: dict[str, Any]) -> _Seen:
    with Image.open(report / sample["image"]) as image:
        pixels = np.array(image.convert("RGB"))
    return _Seen(sample["stratum"], sample["lora_scale"], _asked(sample["prompt"]), geometry.read(pixels))


def _asked(prompt: str) -> dict[str, str]:
    """What a prompt of the shipped kind asks for: its first colour is the object's, its last the background's."""
    words = prompt.split()
    colours = [word for word in words if word in COLOURS]
    if len(colours) < 2:
        raise BadInput(f"{prompt!r} does not name two of the world's colours; only prompts of the shipped kind can be checked.")
    shapes = [word for word in words if word in SHAPES]
    return {"colour": colours[0], "background": colours[-1], "shape": shapes[0] if shapes else ""}


def _shows(each: _Seen, shape: str) -> bool:
    return each.reading.shape == shape and each.reading.overlap >= SHOWN


def _as_asked(each: _Seen) -> bool:
    reading = each.reading
    return {"colour": reading.colour, "background": reading.background, "shape": reading.shape} == each.asked


def _share(right: Iterable[bool]) -> float:
    values: Sequence[bool] = list(right)
    return round(sum(values) / len(values), 4) if values else float("nan")
