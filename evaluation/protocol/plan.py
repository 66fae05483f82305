"""What is requested from the server: prompts × seeds × scales from one prompts file, and the samples that the gates need."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from evaluation.protocol.prompts_file import TRIGGER_PLACEHOLDER, read_values
from foundation.config import Strict, parse
from foundation.errors import BadInput
from foundation.trigger import contains_trigger

VERSION = 3
"""Version of the gates, metrics, guards and the rule that recommends a scale: any change that can change a verdict raises it."""

MAX_BATCH_SIZE = 8
"""Most images in one request."""

Stratum = Literal["trained", "novel", "control"]
STRATA: tuple[Stratum, ...] = ("trained", "novel", "control")
WITH_TRIGGER: tuple[Stratum, ...] = ("trained", "novel")

Phase = Literal["start", "sweep", "end"]


class Protocol(Strict):
    """Three strata of prompts, the seeds and scales they are generated at, and the sampling settings.

    ``trained`` prompts use the trigger as the captions did, ``novel`` ones in contexts that no caption has, ``control`` ones not
    at all. ``{trigger}`` stands for the concept's trigger word. Scale 0 is the base and always included. ``extractors`` are the
    feature extractors: the first one's similarity decides, and texts are embedded by the first one with a text encoder.
    """

    trained: tuple[str, ...] = Field(min_length=1)
    novel: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(default=(101, 102, 103, 104), min_length=1)
    scales: tuple[float, ...] = Field(default=(0.0, 0.4, 0.8, 1.0), min_length=2)
    extractors: tuple[str, ...] = Field(default=("dinov2", "clip"), min_length=1)
    steps: int = Field(default=25, ge=1)
    cfg: float = Field(default=5.0, ge=0)
    negative_prompt: str | None = None
    width: int | None = Field(default=None, ge=64)
    height: int | None = Field(default=None, ge=64)
    scheduler: str | None = None
    variant: str = "full"

    @field_validator("trained", "novel")
    @classmethod
    def _has_trigger(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if TRIGGER_PLACEHOLDER not in prompt:
                raise ValueError(f"{prompt!r} does not contain {TRIGGER_PLACEHOLDER}")
        return prompts

    @field_validator("seeds", "extractors")
    @classmethod
    def _has_no_duplicates(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("the same value is given twice")
        return values

    @field_validator("scales")
    @classmethod
    def _has_base(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        distinct = tuple(sorted(set(scales)))
        if not all(math.isfinite(scale) for scale in scales):
            raise ValueError("every scale must be a finite number")
        if 0.0 not in distinct:
            raise ValueError("scale 0, the base, is missing")
        if distinct[0] < 0:
            raise ValueError("scales below 0 remove the concept and cannot be recommended")
        if len(distinct) < 2:
            raise ValueError("scale 0 alone does not apply the adapter; add a scale above 0")
        return distinct

    @model_validator(mode="after")
    def _has_no_duplicate_prompts(self) -> Self:
        # The same prompt in both halves would confirm its own gain.
        prompts = [" ".join(prompt.casefold().split()) for stratum in STRATA for prompt in getattr(self, stratum)]
        if duplicates := [prompt for prompt in prompts if prompts.count(prompt) > 1]:
            raise ValueError(f"{duplicates[0]!r} is given twice")
        return self

    def prompts(self, stratum: Stratum, trigger: str) -> tuple[str, ...]:
        """Return the prompts of one stratum, with the trigger word filled in."""
        prompts: tuple[str, ...] = getattr(self, stratum)
        return tuple(prompt.replace(TRIGGER_PLACEHOLDER, trigger) for prompt in prompts)

    @property
    def texts(self) -> dict[str, str]:
        """The prompts of the strata with the trigger → what they say without it, which is compared with images."""
        prompts = [prompt for stratum in WITH_TRIGGER for prompt in getattr(self, stratum)]
        return {prompt: " ".join(prompt.replace(TRIGGER_PLACEHOLDER, " ").split()) for prompt in prompts}

    @property
    def nonzero_scales(self) -> tuple[float, ...]:
        """The scales above 0, ascending."""
        return self.scales[1:]


@dataclass(frozen=True)
class Sample:
    """One image to generate; without an ``adapter`` by the base. ``phase``: when it is generated, which the gates depend on."""

    phase: Phase
    stratum: Stratum
    prompt: str
    seed: int
    adapter: str | None
    lora_scale: float


@dataclass(frozen=True)
class RequestSpec:
    """One request: the images of one prompt at one scale with consecutive seeds."""

    samples: tuple[Sample, ...]

    @property
    def first(self) -> Sample:
        """The sample with the lowest seed."""
        return self.samples[0]


@dataclass(frozen=True)
class Plan:
    """Every request by its phase, in the order of sending, and every sample in the order in which people read them."""

    request_specs: dict[Phase, tuple[RequestSpec, ...]]
    samples: tuple[Sample, ...]


_AdapterScale = tuple[str | None, float]
"""An adapter, or None for the base, and its scale."""


def read_protocol(path: Path, trigger: str | None = None) -> Protocol:
    """Read a prompts file of any supported form and print what of it is ignored; ``BadInput`` says what is wrong with it."""
    values, ignored = read_values(path, trigger)
    for clause in ignored:
        print(f"evaluate: note: {path}: {clause}")
    return parse(Protocol, values, str(path))


def check_trigger_free(protocol: Protocol, trigger: str) -> None:
    """Raise ``BadInput`` if a control prompt contains the trigger, for then it controls nothing."""
    for prompt in protocol.control:
        if contains_trigger(prompt, trigger):
            raise BadInput(f"control prompt {prompt!r} contains the trigger {trigger!r}; remove the trigger or the prompt.")


def make_plan(protocol: Protocol, trigger: str, adapters: Sequence[str]) -> Plan:
    """Return every request.

    The start phase requests scale 0 of every adapter, before any adapter has been applied. The sweep requests the base once,
    shared by all adapters, and each adapter at every other scale, shuffled so that no scale is favoured by when it is generated.
    The end phase requests the strongest scale and the base once more, and then scale 0 again, which shows whether an adapter
    stays applied.
    """
    all_prompts = [(stratum, prompt) for stratum in STRATA for prompt in protocol.prompts(stratum, trigger)]
    probes = [(stratum, prompts[0]) for stratum in STRATA if (prompts := protocol.prompts(stratum, trigger))]
    base: list[_AdapterScale] = [(None, 0.0)]
    zeros: list[_AdapterScale] = [(adapter, 0.0) for adapter in adapters]
    strongest: list[_AdapterScale] = [(adapter, protocol.scales[-1]) for adapter in adapters]
    applied: list[_AdapterScale] = [(adapter, scale) for adapter in adapters for scale in protocol.nonzero_scales]

    def request_specs(
        phase: Phase, prompts: Sequence[tuple[Stratum, str]], adapter_scales: Sequence[_AdapterScale]
    ) -> list[RequestSpec]:
        return [
            RequestSpec(tuple(Sample(phase, stratum, prompt, seed, adapter, scale) for seed in seeds))
            for stratum, prompt in prompts
            for seeds in _consecutive_runs(protocol.seeds)
            for adapter, scale in adapter_scales
        ]

    start, sweep = request_specs("start", probes, zeros), request_specs("sweep", all_prompts, [*base, *applied])
    end = [*request_specs("end", probes, strongest), *request_specs("end", probes, [*base, *zeros])]
    samples = tuple(sample for request_spec in (*start, *sweep, *end) for sample in request_spec.samples)
    random.Random(VERSION).shuffle(sweep)
    return Plan({"start": tuple(start), "sweep": tuple(sweep), "end": tuple(end)}, samples)


def _consecutive_runs(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield ``seeds`` in runs of consecutive ones, because a request increments its seed from image to image."""
    for _, group in groupby(enumerate(sorted(seeds)), key=lambda entry: entry[1] - entry[0]):
        run = [seed for _, seed in group]
        for start in range(0, len(run), MAX_BATCH_SIZE):
            yield tuple(run[start : start + MAX_BATCH_SIZE])
