"""The results of an evaluation as its files hold them: one line per image, and the figures that the reports are rendered from."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from evaluation.features.extractors.base import Identity
from evaluation.metrics.base import Guard
from evaluation.protocol.plan import Phase, Sample, Stratum
from evaluation.statistics.intervals import Interval
from foundation.config import Strict, read_model
from foundation.errors import BadInput
from foundation.files import write_json, write_text
from foundation.verdict import Verdict

OUT = Path("outputs/lora_eval")
RESULTS, SAMPLES = "results.json", "samples.jsonl"
IMAGES, HELD_OUT, TRAINING = "images", "held_out", "training"
DIGITS = 6
"""Digits that values are stored with: decimals of an image's values, significant digits of the figures made of them."""


class SampleResult(Strict):
    """The result of one requested image.

    ``image`` is relative to the results' folder. ``batch_size`` is the batch size it was generated in. ``distance`` is the mean
    absolute difference of pixels from the base's image of the same prompt and seed, 0 … 1; ``metrics`` are those that have a
    value for each image. ``nearest`` is the most similar training image, ``nearest_cosine`` their cosine.
    """

    phase: Phase
    stratum: Stratum
    prompt: str
    seed: int
    adapter: str | None
    lora_scale: float
    status: Literal["ok", "failed"]
    image: str | None = None
    sha256: str | None = None
    pixels_sha256: str | None = None
    adapter_sha256: str | None = None
    batch_size: int | None = None
    error: str | None = None
    distance: float | None = None
    metrics: dict[str, float] = Field(default={})
    nearest: str | None = None
    nearest_cosine: float | None = None

    @property
    def sample(self) -> Sample:
        """The sample that was requested."""
        return Sample(self.phase, self.stratum, self.prompt, self.seed, self.adapter, self.lora_scale)


class GateFinding(Strict):
    """The finding of a gate; ``message`` describes it in plain words. A gate without anything to judge is "not judged".

    A failed gate of an ``adapter`` voids the figures of that adapter only, one of the server voids all.
    """

    adapter: str | None = None
    name: str
    title: str
    state: Literal["passed", "failed", "not judged"]
    message: str


def void_all(gates: Sequence[GateFinding], adapters: Collection[str]) -> list[GateFinding] | None:
    """Return the failed gates if they void the figures of every one of ``adapters``; None if some figures are valid."""
    failed = [gate for gate in gates if gate.state == "failed"]
    voids_all = any(gate.adapter is None for gate in failed) or set(adapters) <= {gate.adapter for gate in failed}
    return failed if failed and voids_all else None


class Figure(Strict):
    """A metric at one scale over the prompts: its value, and its change from the base; None if it was not measured."""

    value: Interval | None
    change: Interval | None


class GuardFinding(Strict):
    """Whether a metric stays within its bound; ``passed`` is None if it could not be measured."""

    metric: str
    guard: Guard
    interval: Interval | None
    passed: bool | None


class Candidate(Strict):
    """An adapter at a scale; the candidate without an adapter is the base.

    ``requested`` and ``generated`` count images. ``figures`` are over all prompts, ``by_prompt`` are the values that they
    summarize (metric → prompt → value). ``selected`` is the primary metric's gain on the selection prompts, ``confirmed`` on the
    confirmation prompts; ``set_metrics`` are distribution metrics of all its images. ``p`` is the p value of ``selected``,
    ``p_holm`` the same adjusted for all candidates.
    """

    adapter: str | None
    lora_scale: float
    requested: int
    generated: int
    distance: Interval | None
    figures: dict[str, Figure]
    by_prompt: dict[str, dict[str, float]] = Field(default={})
    guards: tuple[GuardFinding, ...] = ()
    selected: Interval | None = None
    confirmed: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    set_metrics: dict[str, float] = Field(default={})


class EvaluatedAdapter(Strict):
    """One evaluated adapter: ``name`` is its name in the reports, ``path`` the path as the server takes it.

    ``training`` says how many steps it was trained for and why no more, None if its file does not say.
    """

    name: str
    path: str
    sha256: str
    training: str | None = None


class Results(Strict):
    """Everything that the reports show. ``ceiling`` is the mean similarity of the held-out images to one another."""

    schema_version: Literal[2] = 2
    protocol_version: int
    run: str
    trigger: str
    base: dict[str, str]
    adapters: tuple[EvaluatedAdapter, ...]
    extractors: tuple[Identity, ...]
    dataset: dict[str, Any]
    prompts_sha256: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    requested: int
    generated: int
    gates: tuple[GateFinding, ...]
    primary: str
    ceiling: float | None
    halves: dict[str, tuple[str, ...]]
    candidates: tuple[Candidate, ...]
    verdict: Verdict

    @property
    def is_void(self) -> bool:
        """Whether gates failed so that no figure is valid."""
        return void_all(self.gates, {adapter.name for adapter in self.adapters}) is not None


def read_results(folder: Path) -> Results:
    """Read ``results.json``; ``BadInput`` if it does not exist or has another form."""
    path = folder / RESULTS
    if not path.is_file():
        raise BadInput(f"{path}: not found. `python -m evaluation --run {folder.name} …` writes it.")
    return read_model(Results, path)


def write_results(folder: Path, results: Results) -> None:
    """Write ``results.json``."""
    write_json(folder / RESULTS, results.model_dump(mode="json"))


def read_samples(folder: Path) -> list[SampleResult]:
    """Read the complete lines of ``samples.jsonl``: the last line of a killed evaluation may be cut off."""
    path = folder / SAMPLES
    samples = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            samples.append(SampleResult.model_validate_json(line))
        except ValidationError:
            continue
    return samples


def write_samples(folder: Path, samples: Iterable[SampleResult]) -> None:
    """Write ``samples.jsonl``."""
    write_text(folder / SAMPLES, "".join(to_json_line(sample) for sample in samples))


def to_json_line(sample: SampleResult) -> str:
    """Return a sample as a line of ``samples.jsonl``."""
    return json.dumps(sample.model_dump(mode="json"), ensure_ascii=False) + "\n"
