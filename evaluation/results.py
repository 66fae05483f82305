"""What an evaluation measured: one line a sample, and the summary that the report is rendered from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from evaluation.protocol import Stratum
from foundation.config import Strict, parse
from foundation.files import read_json

RESULTS, SAMPLES, IMAGES = "results.json", "samples.jsonl", "images"
REPORT, OVERVIEW = "report.md", "overview.png"


class SampleResult(Strict):
    """One picture that was asked for. ``image`` is relative to the results' folder; ``distance`` is to scale 0, 0 … 1."""

    stratum: Stratum
    prompt: str
    seed: int
    lora_scale: float
    status: Literal["ok", "failed"]
    image: str | None = None
    sha256: str | None = None
    distance: float | None = None
    adapter_sha256: str | None = None
    seconds: float | None = None
    error: str | None = None


class ScaleSummary(Strict):
    """The mean distance to the base at one scale, over the prompts with the trigger and over those without."""

    lora_scale: float
    samples: int
    trigger_distance: float | None
    control_distance: float | None


class Results(Strict):
    """Everything the report says."""

    schema_version: Literal[1] = 1
    protocol_version: int
    run: str
    trigger: str
    adapter: dict[str, str]
    base: dict[str, str]
    settings: dict[str, Any]
    asked: int
    answered: int
    scales: tuple[ScaleSummary, ...]
    samples: tuple[SampleResult, ...]


def summarize(samples: Sequence[SampleResult], scales: Sequence[float]) -> tuple[ScaleSummary, ...]:
    """The summary of each scale."""
    return tuple(_summary([sample for sample in samples if sample.lora_scale == scale], scale) for scale in scales)


def read_results(folder: Path) -> Results:
    """Read ``results.json``."""
    path = folder / RESULTS
    return parse(Results, read_json(path), str(path))


def _summary(samples: Sequence[SampleResult], scale: float) -> ScaleSummary:
    return ScaleSummary(
        lora_scale=scale,
        samples=sum(sample.status == "ok" for sample in samples),
        trigger_distance=_mean(samples, "trigger"),
        control_distance=_mean(samples, "control"),
    )


def _mean(samples: Sequence[SampleResult], stratum: Stratum) -> float | None:
    values = [sample.distance for sample in samples if sample.stratum == stratum and sample.distance is not None]
    return sum(values) / len(values) if values else None
