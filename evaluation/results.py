"""What an evaluation found, as its files hold it: one line an image, and the figures that the reports are rendered from."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from evaluation.extractors.base import Identity
from evaluation.metrics.base import Guard
from evaluation.protocol import Phase, Sample, Stratum
from evaluation.statistics import Interval
from foundation.config import Strict, read_model
from foundation.errors import BadInput
from foundation.files import write_json, write_text
from foundation.verdict import Verdict

OUT = Path("outputs/lora_eval")
RESULTS, SAMPLES = "results.json", "samples.jsonl"
IMAGES, HELD_OUT, TRAINING = "images", "held_out", "training"
DIGITS = 6
"""Decimals that figures are kept with: beyond them are rounding errors."""


class SampleResult(Strict):
    """One image that was asked for.

    ``image`` is relative to the results' folder. ``distance`` is the mean absolute difference of pixels from the base's image
    of the same prompt and seed, 0 … 1; ``metrics`` are those that have a value for each image. ``nearest`` is the training
    image most like it, with their cosine.
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
    together: int | None = None
    error: str | None = None
    distance: float | None = None
    metrics: dict[str, float] = Field(default={})
    nearest: str | None = None
    nearest_cosine: float | None = None

    @property
    def sample(self) -> Sample:
        """What was asked for."""
        return Sample(self.phase, self.stratum, self.prompt, self.seed, self.adapter, self.lora_scale)


class GateFinding(Strict):
    """A gate: ``told`` says in plain words what was found. What has nothing to be judged by is not judged.

    One of an ``adapter`` voids that adapter's figures alone, one of the server all.
    """

    adapter: str | None = None
    name: str
    title: str
    state: Literal["passed", "failed", "not judged"]
    told: str


def void(gates: Sequence[GateFinding], adapters: Collection[str]) -> list[GateFinding] | None:
    """The failed gates, if they void the figures of every one of ``adapters``; None while there are some that count."""
    failed = [gate for gate in gates if gate.state == "failed"]
    is_whole = any(gate.adapter is None for gate in failed) or set(adapters) <= {gate.adapter for gate in failed}
    return failed if failed and is_whole else None


class Figure(Strict):
    """A metric at one scale over the prompts: its value, and its change from the base; None where there is none."""

    value: Interval | None
    change: Interval | None


class GuardFinding(Strict):
    """Whether a metric stays within its bound; ``passed`` is None where it could not be measured."""

    metric: str
    guard: Guard
    interval: Interval | None
    passed: bool | None


class Candidate(Strict):
    """An adapter at a scale; the base is one without an adapter.

    ``figures`` are over all prompts, ``by_prompt`` the values they are of (metric → prompt → value). ``selected`` is the primary
    metric's gain on the prompts that choose, ``confirmed`` on those that do not; ``sets`` are figures of all its images at
    once. ``p`` is that of ``selected``, ``p_holm`` adjusted for all candidates.
    """

    adapter: str | None
    lora_scale: float
    asked: int
    answered: int
    distance: Interval | None
    figures: dict[str, Figure]
    by_prompt: dict[str, dict[str, float]] = Field(default={})
    guards: tuple[GuardFinding, ...] = ()
    selected: Interval | None = None
    confirmed: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    sets: dict[str, float] = Field(default={})


class Subject(Strict):
    """One adapter: ``name`` is how it is called here, ``path`` as the server takes it.

    ``training`` says how many steps it is of and why there are no more, None where its file does not tell.
    """

    name: str
    path: str
    sha256: str
    training: str | None = None


class Results(Strict):
    """Everything the reports say. ``ceiling`` is how like one another the held-out images are."""

    schema_version: Literal[2] = 2
    protocol_version: int
    run: str
    trigger: str
    base: dict[str, str]
    adapters: tuple[Subject, ...]
    extractors: tuple[Identity, ...]
    dataset: dict[str, Any]
    prompts_sha256: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    asked: int
    answered: int
    gates: tuple[GateFinding, ...]
    primary: str
    ceiling: float | None
    halves: dict[str, tuple[str, ...]]
    candidates: tuple[Candidate, ...]
    verdict: Verdict

    @property
    def is_void(self) -> bool:
        """Whether gates failed so that no figure means anything."""
        return void(self.gates, {each.name for each in self.adapters}) is not None


def read_results(folder: Path) -> Results:
    """Read ``results.json``; ``BadInput`` when it is not there or not of this form."""
    path = folder / RESULTS
    if not path.is_file():
        raise BadInput(f"{path}: not there. `python -m evaluation --run {folder.name} …` writes it.")
    return read_model(Results, path)


def write_results(folder: Path, results: Results) -> None:
    """Write ``results.json``."""
    write_json(folder / RESULTS, results.model_dump(mode="json"))


def read_samples(folder: Path) -> list[SampleResult]:
    """The lines of ``samples.jsonl`` that are whole: the last one of a killed evaluation may be cut off."""
    path = folder / SAMPLES
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(SampleResult.model_validate_json(line))
        except ValidationError:
            continue
    return found


def write_samples(folder: Path, samples: Iterable[SampleResult]) -> None:
    """Write ``samples.jsonl``."""
    write_text(folder / SAMPLES, "".join(line(sample) for sample in samples))


def line(sample: SampleResult) -> str:
    """A line of ``samples.jsonl``."""
    return json.dumps(sample.model_dump(mode="json"), ensure_ascii=False) + "\n"
